//! The node's metrics, in Prometheus' text format.
//!
//! Events are counted where they happen, through the `metrics` crate. Values of the moment, such as the length of the log
//! or the free disk space, are read when the metrics are scraped and cost nothing otherwise.

mod catalogue;
mod process;
mod scrape;

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use net::NodeId;
use tokio_util::sync::CancellationToken;

use catalogue::{Kind, METRICS};
pub(crate) use scrape::Sources;

/// How often recorded samples are moved into the buckets of histograms, which bounds their memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Installs the recorder; must be called before anything is recorded.
pub(crate) fn install(node: NodeId) -> Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new().add_global_label("node", node.to_string());
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets)?;
        }
    }
    let handle = builder.install_recorder().context("cannot record metrics")?;
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.description),
            Kind::Gauge | Kind::FractionalCounter => describe_gauge!(metric.name, metric.unit, metric.description),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.description),
        }
        for labels in metric.initial {
            match metric.kind {
                Kind::Counter => counter!(metric.name, *labels).increment(0),
                Kind::Gauge | Kind::FractionalCounter => gauge!(metric.name, *labels).set(0.0),
                Kind::Histogram(_) => drop(histogram!(metric.name, *labels)),
            }
        }
    }
    gauge!("quartet_node_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    process::set_start_time();
    Ok(handle)
}

/// Runs the recorder's upkeep until `stop`, so that its memory stays bounded without scrapes.
pub(crate) async fn run_upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_INTERVAL) => handle.run_upkeep(),
        }
    }
}
