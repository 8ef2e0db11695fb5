//! HTTP doors for citizens
