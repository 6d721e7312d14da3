"""`rmq`, the command: what the client can do, for people at a terminal and for scripts.

    main        all commands together; errors become one sentence and an exit code
    shell       what every command gets: the options they share, the client, the output
    output      tables for people, plain columns into pipes, JSON for programs
    exits       the exit codes, and which error has which
    config      named clusters ("contexts"), kept in a file
    topics, groups, dead_letters, cluster, context     a file for each noun
    looking, picture       all nodes asked at once, for `cluster`; what their answers come to
    publishing, subscribing, peeking       a file for each verb; `bodies` is what they say of a body,
                                           `many` publishes many, and says which are stored
    bench, verify                              the two that measure

Rules of this package: the client does the work, a command only says what it did. Nothing but results goes to standard
output; what is for people alone goes to standard error. typer and rich come with `pip install '.[cli]'`.
"""
