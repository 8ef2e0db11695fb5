//! What an authenticator app scans.

use std::fmt::Write as _;

use data_encoding::BASE32_NOPAD;
use kavadam_domain::MobileNumber;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

/// A picture to scan, and the key for those who must type it. The number in the app's list is masked.
///
/// # Errors
/// The picture cannot be drawn.
pub fn invitation(number: &MobileNumber, secret: &[u8]) -> anyhow::Result<Zeroizing<String>> {
    let key = Zeroizing::new(BASE32_NOPAD.encode(secret));
    let shown = number.masked();
    let link = Zeroizing::new(format!(
        "otpauth://totp/Kavadam:{shown}?secret={}&issuer=Kavadam&algorithm=SHA1&digits=6&period=30",
        key.as_str()
    ));
    let picture = QrCode::with_error_correction_level(link.as_bytes(), EcLevel::L)?
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    let mut text = Zeroizing::new(picture);
    write!(
        text,
        "\n\nScan this with the authenticator app of {shown}, or type the key:\n  "
    )?;
    for (at, letter) in key.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    text.push_str("\nIt is not shown again; clear the screen when it is scanned.");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_can_be_typed_and_the_number_is_masked() {
        let number: MobileNumber = "9876543210".parse().expect("a number");
        let text = invitation(&number, b"12345678901234567890").expect("a picture");
        assert!(
            text.contains("GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"),
            "the RFC 6238 secret in base32"
        );
        assert!(!text.contains("9876543210"));
        assert!(text.contains('\u{2588}'), "a picture");
    }
}
