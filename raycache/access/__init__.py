"""Who may do what: users, their passwords' hashes, their commands and keys, in the words of Redis' ACL.

What lives here: users as values (`user`), what their rules come to (`rights`), and the list of all that every shard and
gateway holds (`users`). What does not: sessions and commands (`raycache.shard`), sockets, TLS (`raycache.tls`). Pure:
what commands there are, how a pattern matches and which version a change has is handed in.
"""
