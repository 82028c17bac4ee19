//! What is measured, against which budget, and how it is reported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::say;

/// One figure of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// `None`: no budget is set, the figure is watched.
    pub(super) budget: Option<f64>,
    pub(super) better: Better,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// All figures, with the budgets of the design.
pub(super) const FIGURES: [Figure; 35] = [
    higher("append_synced_batched", "records/s", Some(200_000.0)),
    higher("append_synced_single", "records/s", None),
    higher("scan", "records/s", None),
    higher("rebuild", "records/s", None),
    lower("propagation_p50_ms", "ms", Some(2.5)),
    lower("propagation_p99_ms", "ms", Some(5.0)),
    lower("small_edit_bytes", "bytes", Some(400.0)),
    lower("resume_bytes", "bytes", None),
    lower("resume_ms", "ms", Some(1000.0)),
    lower("resume_1000_keys_bytes", "bytes", None),
    lower("idle_bytes_per_s", "bytes/s", Some(10.0)),
    lower("edge_rss_mb", "MB", Some(10.0)),
    lower("edge_binary_mb", "MB", Some(15.0)),
    lower("cloud_binary_mb", "MB", Some(25.0)),
    lower("offline_start_ms", "ms", None),
    // KubeEdge measured 2.6 and 4.0 ms on a like set-up, without waiting for the disk.
    lower("k8s_propagation_p50_ms", "ms", None),
    lower("k8s_propagation_p99_ms", "ms", None),
    lower("k8s_pod_running_p50_ms", "ms", None),
    lower("k8s_api_writes_per_delivered_object", "writes", Some(0.0)),
    lower("cloud_rss_mb", "MB", None),
    lower("k8s_list_after_restart_bytes_to_edges", "bytes", Some(0.0)),
    higher("twin_updates_per_s", "1/s", Some(10_000.0)),
    higher("twin_updates_mosquitto_per_s", "1/s", None),
    lower("twin_desired_to_device_p50_ms", "ms", None),
    lower("twin_desired_to_device_p99_ms", "ms", None),
    lower("twin_desired_to_dmi_p50_ms", "ms", None),
    lower("twin_desired_to_dmi_p99_ms", "ms", None),
    lower("twin_apiserver_writes_per_min", "writes", Some(600.0)),
    lower("offline_readings_lost", "readings", Some(0.0)),
    lower("offline_drops_miscounted", "readings", Some(0.0)),
    lower("edge_rss_100_devices_mb", "MB", None),
    higher("sim_node_seconds_per_s", "1/s", Some(1_000_000.0)),
    higher("sim_events_per_s", "1/s", None),
    lower("sim_storm_1000_nodes_s", "s", Some(15.0)),
    higher("model_states", "states", None),
];

const fn higher(name: &'static str, unit: &'static str, budget: Option<f64>) -> Figure {
    Figure {
        name,
        unit,
        budget,
        better: Better::Higher,
    }
}

const fn lower(name: &'static str, unit: &'static str, budget: Option<f64>) -> Figure {
    Figure {
        name,
        unit,
        budget,
        better: Better::Lower,
    }
}

/// The values of each figure, one a run.
#[derive(Debug, Default)]
pub(super) struct Samples {
    values: BTreeMap<&'static str, Vec<f64>>,
    notes: BTreeMap<&'static str, String>,
}

impl Samples {
    /// Adds the value of one run.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        self.values.entry(name).or_default().push(value);
    }

    /// Something worth knowing of a figure.
    pub(super) fn note(&mut self, name: &'static str, note: String) {
        self.notes.insert(name, note);
    }

    /// Prints the table, adds to the summary; `false` when a budget is missed.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn report(&self, summary: &Path) -> Result<bool> {
        let header = ["FIGURE", "MEDIAN", "SPREAD", "RUNS", "UNIT", "BUDGET", ""];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let mut kept = read(summary);
        let mut good = true;
        for figure in FIGURES {
            let Some(values) = self.values.get(figure.name) else {
                continue;
            };
            let (low, median, high) = spread(values);
            let met = figure.met(median);
            good &= met != Some(false);
            rows.push(vec![
                figure.name.to_owned(),
                number(median),
                format!("{}–{}", number(low), number(high)),
                values.len().to_string(),
                figure.unit.to_owned(),
                figure
                    .budget
                    .map_or_else(|| "-".to_owned(), |budget| figure.bound(budget)),
                match met {
                    Some(true) => "met",
                    Some(false) => "MISSED",
                    None => "",
                }
                .to_owned(),
            ]);
            let better = match figure.better {
                Better::Lower => "lower",
                Better::Higher => "higher",
            };
            let entry = json!({
                "value": median, "unit": figure.unit, "budget": figure.budget, "better": better,
            });
            kept.insert(figure.name.to_owned(), entry);
        }
        say::line("");
        say::table(&rows);
        for (name, note) in &self.notes {
            say::line(format!("{name}: {note}"));
        }
        if let Some(dir) = summary.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(summary, format!("{:#}\n", Value::Object(kept)))
            .with_context(|| format!("cannot write {}", summary.display()))?;
        Ok(good)
    }
}

impl Figure {
    fn met(&self, value: f64) -> Option<bool> {
        let budget = self.budget?;
        Some(match self.better {
            Better::Lower => value <= budget,
            Better::Higher => value >= budget,
        })
    }

    fn bound(&self, budget: f64) -> String {
        match self.better {
            Better::Lower => format!("≤ {}", number(budget)),
            Better::Higher => format!("≥ {}", number(budget)),
        }
    }
}

/// Figures of earlier runs stay when only some are measured.
fn read(summary: &Path) -> Map<String, Value> {
    let text = std::fs::read_to_string(summary).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Value::Object(kept)) => kept,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Least, median, greatest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    (sorted[0], sorted[last / 2], sorted[last])
}

/// The value below which this part of the values lies; they need not be sorted.
pub(super) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, reason = "an index below the length")]
    #[expect(clippy::cast_sign_loss, reason = "a part of a length is not negative")]
    #[expect(clippy::cast_precision_loss, reason = "thousands of values")]
    let index = (last as f64 * part).round() as usize;
    sorted.get(index.min(last)).copied().unwrap_or(f64::NAN)
}

/// Digits that matter, thousands apart.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}
