//! Whole visits against a centre in memory, and every page as a reader and a checker see it.

mod browser;
mod hostile;
mod markup;
mod page_rules;
mod slips;
mod visits;
