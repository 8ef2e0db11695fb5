//! Vouchers.

use kavadam_access::voucher::Worth;
use kavadam_domain::{Plan, Timestamp};
use kavadam_store::VoucherRow;
use serde_json::{Value, json};

use super::{Desk, ago, missing, print, say, sheet, span, table};
use crate::cli::{Output, VoucherCommand, VoucherOrder};
use crate::units::show_octets;

/// Vouchers made in one go at most: those of a lot just ended are shown.
const MOST: u32 = 10_000;

impl Desk {
    pub(super) async fn voucher(&self, command: VoucherCommand) -> anyhow::Result<()> {
        match command {
            VoucherCommand::Create(order) => self.create_vouchers(&order).await,
            VoucherCommand::List { label, most, output } => {
                let vouchers = self.access.vouchers(label.as_deref(), most).await?;
                let plans = self.access.plans().await?;
                let json = vouchers.iter().map(|voucher| self.voucher_json(voucher, &plans));
                print(output.json, &json.collect(), || {
                    table(
                        ["ID", "LABEL", "WORTH", "STATE", "MADE", "GOOD FOR"],
                        vouchers
                            .iter()
                            .map(|voucher| self.voucher_row(voucher, &plans))
                            .collect(),
                    )
                })
            }
            VoucherCommand::Show { id, output } => {
                let voucher = self.find_voucher(id).await?;
                let plans = self.access.plans().await?;
                print(output.json, &self.voucher_json(&voucher, &plans), || {
                    let [id, label, worth, state, made, left] = self.voucher_row(&voucher, &plans);
                    sheet(&[
                        ("voucher", id),
                        ("label", label),
                        ("worth", worth),
                        ("state", state),
                        ("made", made),
                        ("good for", left),
                    ])
                })
            }
            VoucherCommand::End {
                id: Some(id), output, ..
            } => self.end_voucher(id, output).await,
            VoucherCommand::End { label, output, .. } => self.end_lot(&label.unwrap_or_default(), output).await,
        }
    }

    async fn create_vouchers(&self, order: &VoucherOrder) -> anyhow::Result<()> {
        let expires_at = order.expires.map(|span| self.now + span);
        let worth = Worth {
            octets: order.octets,
            plan: order.plan.as_deref(),
        };
        let codes = self
            .access
            .create_vouchers(order.count, worth, &order.label, expires_at, &self.actor, self.now)
            .await?;
        if !order.output.json {
            return codes.iter().try_for_each(|code| say(code));
        }
        let made = codes.iter().map(|code| {
            json!({
                "code": code.as_str(), "label": order.label, "octets": order.octets, "plan": order.plan,
                "expires_at": expires_at.map(Timestamp::as_secs),
            })
        });
        print(true, &made.collect(), Vec::new)
    }

    async fn end_voucher(&self, id: i64, output: Output) -> anyhow::Result<()> {
        let is_ended = self.access.end_voucher(id, &self.actor, self.now).await?;
        if output.json {
            let (voucher, plans) = (self.find_voucher(id).await?, self.access.plans().await?);
            return print(true, &self.voucher_json(&voucher, &plans), Vec::new);
        }
        let what = if is_ended {
            "is good no more"
        } else {
            "was used or expired already"
        };
        say(&format!("voucher {id} {what}"))
    }

    async fn end_lot(&self, label: &str, output: Output) -> anyhow::Result<()> {
        let ended = self.access.end_vouchers(label, &self.actor, self.now).await?;
        if output.json {
            let lot = self.access.vouchers(Some(label), MOST).await?;
            let plans = self.access.plans().await?;
            let json = lot.iter().map(|voucher| self.voucher_json(voucher, &plans));
            return print(true, &json.collect(), Vec::new);
        }
        say(&format!("{ended} vouchers are good no more"))
    }

    async fn find_voucher(&self, id: i64) -> anyhow::Result<VoucherRow> {
        let found = self.access.voucher(id).await?;
        Ok(found.ok_or_else(|| missing("voucher", &id.to_string()))?)
    }

    fn state(&self, voucher: &VoucherRow) -> &'static str {
        match voucher.expires_at {
            _ if voucher.used_at.is_some() => "used",
            Some(at) if at <= self.now => "expired",
            _ => "unused",
        }
    }

    fn voucher_row(&self, voucher: &VoucherRow, plans: &[Plan]) -> [String; 6] {
        let plan = plan_of(voucher, plans).map(|name| format!("the plan {name}"));
        let worth = [voucher.octets.map(show_octets), plan];
        [
            voucher.id.to_string(),
            voucher.label.clone(),
            worth.into_iter().flatten().collect::<Vec<_>>().join(", "),
            self.state(voucher).to_owned(),
            ago(self.now, voucher.created_at),
            voucher
                .expires_at
                .map_or("ever".to_owned(), |at| span(at.since(self.now))),
        ]
    }

    fn voucher_json(&self, voucher: &VoucherRow, plans: &[Plan]) -> Value {
        json!({
            "id": voucher.id, "label": voucher.label, "octets": voucher.octets, "plan": plan_of(voucher, plans), "state": self.state(voucher),
            "created_at": voucher.created_at.as_secs(),
            "expires_at": voucher.expires_at.map(Timestamp::as_secs),
            "used_at": voucher.used_at.map(Timestamp::as_secs),
        })
    }
}

/// The name of the plan that it gives; one that has ended since has none.
fn plan_of<'a>(voucher: &VoucherRow, plans: &'a [Plan]) -> Option<&'a str> {
    let plan = plans.iter().find(|plan| Some(plan.id) == voucher.plan_id)?;
    Some(&plan.name)
}
