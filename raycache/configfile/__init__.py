"""`raycache.yaml`: all settings of a cluster in one file, checked as a whole before anything is started.

What lives here: which settings there are and what they mean together (`settings`), YAML with its lines (`values`). What
does not: starting anything (`raycache.actors.launch`), and the command line (`raycache.cli.config`).
"""

from raycache.configfile.settings import Launch, Setting, cluster_config, read, settings, written
from raycache.configfile.values import ConfigFileError

__all__ = ["ConfigFileError", "Launch", "Setting", "cluster_config", "read", "settings", "written"]
