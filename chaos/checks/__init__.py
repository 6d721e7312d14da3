"""The rules that a history is judged by, one subject a file; `chaos.checker` puts them together.

    messages   each topic's queue: what was said about each message
                 published             what was stored, and under which name and place
                 line                  do messages stand as they were published?
                 fifo                  done when handed out: does one order fit all?
                 leases                handed out for a while, until somebody acks
                   deliveries          the life of one message
                   turns               the order in which they go, groups
                 sentences, lease_sentences
    topics     the list of topics: created once, seen by all from then on
    leaders    at most one leader a term
    states     equal positions, equal states
    logs       equal positions, equal entries

Rules of this package: pure. No clock, no randomness, no network, no file; nothing of the node's own code. Each subject
takes records as they come (`add`) and judges at the end (`judge`); what is wrong goes to one `Findings`.
"""
