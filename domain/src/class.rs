//! The name of a shaping class: what those on some plans get together of a full line, as each gateway says.

use crate::name::plain_name;

plain_name! {
    /// 1 to 32 lower case letters, digits and dashes, and not `none`; travels as CoovaChilli-Config `kavadam.class=NAME`. What a class gets is the
    /// gateway's to say, which knows its line.
    ClassName,
    /// The text names no class.
    InvalidClassName = "not a name of a class: use 1 to 32 lower case letters, digits and dashes, such as free; `none` is none"
}
