//! The name of a filter: where those on some plans may not go, as each gateway says.

use crate::name::plain_name;

plain_name! {
    /// 1 to 32 lower case letters, digits and dashes, and not `none`; travels as Filter-Id (RFC 2865 §5.11). What is in a filter is the gateway's to say.
    FilterName,
    /// The text names no filter.
    InvalidFilterName = "not a name of a filter: use 1 to 32 lower case letters, digits and dashes, such as minors; `none` is none"
}
