//! Whether a proof was made with a password.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::api::Proof;

/// A proof that was right, and what it asks of us in turn.
#[derive(Default)]
pub struct Proven {
    /// See [`crate::api::Grant::ms_chap2_success`].
    pub ms_chap2_success: Option<String>,
}

/// Compares in constant time. `user_name` as the client sent it, for MS-CHAPv2 covers it.
pub fn prove(proof: &Proof, user_name: &str, password: &str) -> Option<Proven> {
    let is_right = match proof {
        Proof::Pap(given) => given.ct_eq(password.as_bytes()).into(),
        Proof::Chap {
            ident,
            response,
            challenge,
        } => {
            let expected = Md5::new()
                .chain_update([*ident])
                .chain_update(password)
                .chain_update(challenge)
                .finalize();
            response.as_slice().ct_eq(expected.as_slice()).into()
        }
        Proof::MsChapV2(response) => {
            let success = response.check(user_name, password)?;
            return Some(Proven {
                ms_chap2_success: Some(success),
            });
        }
    };
    bool::then(is_right, Proven::default)
}
