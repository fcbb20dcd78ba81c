//! The metrics: the counters of the events, and what can be measured at any time.

use std::sync::atomic::AtomicU64;

use lariat_wire::protocol::status::{LimitUse, Report};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::core::Counters;
use crate::upgrade::VERSION;

/// All metrics, ready to be encoded.
pub(super) struct Metrics {
    registry: Registry,
    sessions: Gauge,
    jobs: Gauge,
    transfers: Gauge,
    audit: Gauge,
    expiry: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    used: Family<LimitLabel, Gauge>,
    total: Family<LimitLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: String,
}

impl Metrics {
    /// The metrics of an agent with these counters.
    pub(super) fn new(counters: &Counters) -> Self {
        let mut registry = Registry::with_prefix("lariat");
        registry.register("build", "The agent", Info::new([("version", VERSION)]));
        counters.register(&mut registry);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let sessions = gauge("sessions", "Sessions");
        let jobs = gauge("jobs", "Running jobs");
        let transfers = gauge("transfers", "Transfers under way");
        let audit = gauge("audit_lines", "Lines of the audit on disk");
        let help = "The end of the host's certificate, in seconds since 1970";
        let expiry = Gauge::default();
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            help,
            Unit::Seconds,
            expiry.clone(),
        );
        let uptime = Gauge::default();
        let help = "How long the agent has run";
        registry.register_with_unit("uptime", help, Unit::Seconds, uptime.clone());
        let (used, total) = (Family::default(), Family::default());
        registry.register("limit_used", "What is used of a limit", used.clone());
        registry.register("limit", "What all keys together may use", total.clone());
        Self { registry, sessions, jobs, transfers, audit, expiry, uptime, used, total }
    }

    /// The metrics as OpenMetrics, or in the older text format, with what `report` says.
    pub(super) fn encode(&self, report: &Report, is_plain: bool) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.sessions.set(count(report.sessions.len()));
        self.jobs.set(count(report.jobs.len()));
        self.transfers.set(count(report.transfers.len()));
        self.audit.set(whole(report.audit.seq));
        self.expiry.set(report.certificate_end);
        self.uptime.set(std::time::Duration::from_millis(report.agent_ms).as_secs_f64());
        for limit in &report.limits {
            let LimitUse { name, used, total, .. } = &limit.0;
            let label = LimitLabel { limit: name.clone() };
            self.used.get_or_create(&label).set(whole(*used));
            self.total.get_or_create(&label).set(whole(*total));
        }
        let mut encoded = String::new();
        let written = if is_plain {
            prometheus_text::encode(&mut encoded, &self.registry)
        } else {
            text::encode(&mut encoded, &self.registry)
        };
        written.expect("a String takes what is written to it");
        encoded
    }
}
