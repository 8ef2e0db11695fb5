//! What the pages need of the centre's use cases, so that they can be tested without a database.

use std::error::Error;
use std::future::Future;

use kavadam_access::api::{NasEntry, Started, Step, Verified, Visit};
use kavadam_access::{Access, AccessError};
use kavadam_domain::Timestamp;

/// The use cases of a citizen in front of a page. Each is one transaction; a refusal is a value, an error means that the
/// service is out of order. Implementations are handles, cheap to clone.
pub trait Citizen: Clone + Send + Sync + 'static {
    /// Why a use case could not be carried out.
    type Error: Error + Send + Sync + 'static;

    /// The gate of this NAS-Identifier.
    fn nas_by_name(&self, name: &str) -> impl Future<Output = Result<Option<NasEntry>, Self::Error>> + Send;

    /// The step a device stands at.
    fn step(&self, visit: &Visit, now: Timestamp) -> impl Future<Output = Result<Step, Self::Error>> + Send;

    /// Sends a code to the number, if the terms were accepted.
    fn start_login(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        now: Timestamp,
    ) -> impl Future<Output = Result<Started, Self::Error>> + Send;

    /// Sends another code to the same number.
    fn resend_code(&self, visit: &Visit, now: Timestamp) -> impl Future<Output = Result<Started, Self::Error>> + Send;

    /// Checks the code a person typed.
    fn verify_code(
        &self,
        visit: &Visit,
        code: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Verified, Self::Error>> + Send;

    /// Forgets the pending code and whose device this is.
    fn change_number(&self, visit: &Visit, now: Timestamp) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Logs a remembered device in without a code.
    fn reconnect(&self, visit: &Visit, now: Timestamp) -> impl Future<Output = Result<Verified, Self::Error>> + Send;

    /// Ends the device's session at its owner's wish; whether there was one.
    fn disconnect(&self, visit: &Visit, now: Timestamp) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Adds a voucher's octets to the subscriber and logs the device in.
    fn redeem_voucher(
        &self,
        visit: &Visit,
        code: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Verified, Self::Error>> + Send;

    /// The same for a number that is given with it, where no code is sent.
    fn redeem_voucher_for(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        code: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Verified, Self::Error>> + Send;
}

impl Citizen for Access {
    type Error = AccessError;

    async fn nas_by_name(&self, name: &str) -> Result<Option<NasEntry>, AccessError> {
        Access::nas_by_name(self, name).await
    }

    async fn step(&self, visit: &Visit, now: Timestamp) -> Result<Step, AccessError> {
        Access::step(self, visit, now).await
    }

    async fn start_login(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        now: Timestamp,
    ) -> Result<Started, AccessError> {
        Access::start_login(self, visit, number, has_consent, now).await
    }

    async fn resend_code(&self, visit: &Visit, now: Timestamp) -> Result<Started, AccessError> {
        Access::resend_code(self, visit, now).await
    }

    async fn verify_code(&self, visit: &Visit, code: &str, now: Timestamp) -> Result<Verified, AccessError> {
        Access::verify_code(self, visit, code, now).await
    }

    async fn change_number(&self, visit: &Visit, now: Timestamp) -> Result<(), AccessError> {
        Access::change_number(self, visit, now).await
    }

    async fn reconnect(&self, visit: &Visit, now: Timestamp) -> Result<Verified, AccessError> {
        Access::reconnect(self, visit, now).await
    }

    async fn disconnect(&self, visit: &Visit, now: Timestamp) -> Result<bool, AccessError> {
        Access::disconnect(self, visit, now).await
    }

    async fn redeem_voucher(&self, visit: &Visit, code: &str, now: Timestamp) -> Result<Verified, AccessError> {
        Access::redeem_voucher(self, visit, code, now).await
    }

    async fn redeem_voucher_for(
        &self,
        visit: &Visit,
        number: &str,
        has_consent: bool,
        code: &str,
        now: Timestamp,
    ) -> Result<Verified, AccessError> {
        Access::redeem_voucher_for(self, visit, number, has_consent, code, now).await
    }
}
