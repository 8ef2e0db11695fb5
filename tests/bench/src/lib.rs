//! Benchmarks anyone can run
