"""What every benchmark shares: statistics, rounds, servers, machine facts, progress, report."""
