//! Network-namespace lab: what make run shows and the tests use
