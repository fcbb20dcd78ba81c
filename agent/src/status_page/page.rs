//! The page: one document without foreign resources, which can be read without a script.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lariat_base::name::HostName;
use lariat_base::quantity::{bytes, span};
use lariat_client::status::{certificate_days, describe, fullest, used};
use lariat_wire::grown::Grown;
use lariat_wire::protocol::status::{LimitUse, Report};
use sha2::{Digest, Sha256};

/// How the page looks, in light and in dark.
const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fbfaf8;--text:#1d1d1f;--soft:#6b6b70;--line:#dedbd5;--bad:#a3260f}\
@media(prefers-color-scheme:dark){:root{--ground:#17181a;--text:#e8e6e3;--soft:#9a9aa0;--line:#34363a;--bad:#ff8a70}}\
body{margin:0 auto;max-width:46rem;padding:2.5rem 1.25rem;background:var(--ground);color:var(--text);\
font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.5rem;font-weight:600;margin:0}p{margin:.25rem 0 1.75rem;color:var(--soft)}\
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.55rem 0;border-bottom:1px solid var(--line);text-align:left;font-weight:400;vertical-align:top}\
th{width:11rem;color:var(--soft)}.bad{color:var(--bad)}\
pre{overflow-x:auto;font:13px/1.6 ui-monospace,monospace}a{color:inherit}table~p{margin-top:1rem}";

/// The policy for what a browser does with the page: nothing but to show it in its own style.
pub(super) fn policy() -> String {
    let sum = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{sum}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page of a host; `in_full` with keys, commands and paths.
pub(super) fn page(host: &HostName, report: &Report, in_full: bool) -> String {
    let mut rows = String::new();
    for (name, value, is_bad) in rows_of(report) {
        let class = if is_bad { " class=bad" } else { "" };
        let _ = writeln!(rows, "<tr><th scope=row>{name}<td{class}>{}", escaped(&value));
    }
    let full = if in_full {
        format!("<pre>{}</pre>\n", escaped(&describe(report, None)))
    } else {
        String::new()
    };
    let (host, version) = (escaped(host.as_str()), escaped(&report.version));
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <meta http-equiv=refresh content=10>\n<title>{host}</title>\n<style>{STYLE}</style>\n\
         <h1>{host}</h1>\n<p>lariatd {version}, up {}</p>\n<table>\n{rows}</table>\n{full}\
         <p><a href=/metrics>metrics</a> <a href=/status.json>status.json</a></p>\n</html>\n",
        span(Duration::from_millis(report.agent_ms))
    )
}

/// The rows: a name, a value, and whether it is bad. No text in them is from outside but the figures' names.
fn rows_of(report: &Report) -> Vec<(String, String, bool)> {
    let row = |name: &str, value: String, is_bad| (name.to_owned(), value, is_bad);
    let [one, five, fifteen] = report.load.map(|load| f64::from(load) / 100.0);
    let in_use = report.memory.total.saturating_sub(report.memory.available);
    let days = certificate_days(report);
    let mut rows = vec![
        row("Sessions", report.sessions.len().to_string(), false),
        row("Jobs", report.jobs.len().to_string(), false),
        row("Transfers", report.transfers.len().to_string(), false),
        row("Host up", span(Duration::from_millis(report.up_ms)), false),
        row("Load", format!("{one:.2} {five:.2} {fifteen:.2}"), false),
        row("Memory used", bytes(in_use, report.memory.total), false),
    ];
    if let Some(disk) = fullest(report) {
        let used = used(disk);
        let text = used.map_or("does not answer".to_owned(), |used| format!("{used}%"));
        rows.push(row("Fullest disk", text, used.is_none_or(|used| used >= 95)));
    }
    rows.push(row("Certificate", format!("{days} days left"), days < 30));
    for Grown(LimitUse { name, used, total, refusals }) in &report.limits {
        let share =
            if name == "memory" { bytes(*used, *total) } else { format!("{used} of {total}") };
        let refused =
            if *refusals > 0 { format!(", refused {refusals} times") } else { String::new() };
        rows.push((format!("Limit of {name}"), format!("{share}{refused}"), *refusals > 0));
    }
    rows.push(row("Audit", format!("{} lines", report.audit.seq), false));
    rows
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
