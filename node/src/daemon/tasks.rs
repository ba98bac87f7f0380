//! Tasks and background loops.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use audio::sandbox::Sandbox;
use live::BrokerStatus;
use net::Protocol;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use work::amqp::Address;
use work::broker::Broker;
use work::claims::Claims;
use work::external::ExternalPublisher;
use work::rabbitmq::RabbitMq;
use work::reset::Reset;
use work::runner::{Runners, TaskContext};
use work::scheduler::Scheduler;
use work::service::WorkService;
use work::workers::Workers;

use super::foundation::Foundation;
use crate::configuration::Configuration;
use crate::maintenance::{Deps, Maintenance, MaintenanceSettings, Reporter};
use crate::models::{inbox, publish};
use crate::operator::OperatorService;
use crate::webhooks::WebhookSender;

/// The purpose of the encryption of web hooks' secrets.
pub(super) const HOOKS: &str = "web hooks";

/// The running scheduler, workers and background loops of a node.
pub(super) struct Tasks {
    /// The status of the broker, if one is configured.
    pub(super) broker: Option<watch::Receiver<BrokerStatus>>,
    workers: JoinHandle<()>,
    broker_stop: CancellationToken,
    loops: TaskTracker,
}

impl Tasks {
    /// Starts them until `stopping`.
    pub(super) fn start(
        configuration: &Arc<Configuration>,
        foundation: &Foundation,
        sandbox: &Sandbox,
        stopping: &CancellationToken,
    ) -> Result<Self> {
        let Foundation { cluster, peer, replication, live, blobs, .. } = foundation;
        let me = configuration.me();
        let loops = TaskTracker::new();
        let reset = Reset::default();
        let claims = Arc::new(Claims::default());

        let address = configuration.broker.as_ref().map(|broker| {
            Address::new(&broker.url, broker.ca.as_deref(), "ca under [broker]").context("the broker's address")
        });
        let address = address.transpose()?;
        let slots = configuration.workers.all_slots();
        let (deliveries, delivered) = mpsc::channel(1 + 4 * slots as usize);
        let broker_stop = CancellationToken::new();
        let broker: Option<Arc<dyn Broker>> =
            configuration.broker.clone().zip(address.clone()).map(|(settings, address)| {
                let slots = u16::try_from(slots).unwrap_or(u16::MAX);
                let (broker, running) =
                    RabbitMq::start(address, settings, slots, deliveries.clone(), reset.clone(), broker_stop.clone());
                loops.spawn(running);
                Arc::new(broker) as Arc<dyn Broker>
            });

        let scheduler =
            Arc::new(Scheduler::new(cluster.clone(), live.clone(), broker.clone(), configuration.workers.clone()));
        let service = WorkService { scheduler: Arc::clone(&scheduler), reset: reset.clone() };
        peer.serve(Protocol::Work, Arc::new(service));
        loops.spawn(Arc::clone(&scheduler).run(stopping.clone()));
        if let (Some(settings), Some(address)) = (&configuration.external, address) {
            let publisher = ExternalPublisher::new(cluster.clone(), replication.clone(), address, settings.clone());
            loops.spawn(publisher.run(stopping.clone()));
        }
        let webhooks =
            WebhookSender::new(cluster.clone(), foundation.secret_box(HOOKS)?, configuration.hooks.allow_private);
        loops.spawn(Arc::new(webhooks).run(stopping.clone()));

        let maintenance = Arc::new(Maintenance::default());
        let operator = OperatorService {
            cluster: cluster.clone(),
            peer: peer.clone(),
            live: live.clone(),
            reset: reset.clone(),
            broker: broker.clone(),
            scrubs: maintenance.scrubs(),
        };
        peer.serve(Protocol::Operator, Arc::new(operator));
        let reporter = Reporter {
            configuration: Arc::clone(configuration),
            blobs: blobs.clone(),
            claims: Arc::clone(&claims),
            maintenance: Arc::clone(&maintenance),
        };
        loops.spawn(reporter.run(live.clone(), stopping.clone()));
        let settings = MaintenanceSettings {
            repair_after: configuration.repair_after(),
            scrub: configuration.scrub_period(),
            grace: configuration.collect_grace(),
            scrub_mark: me.data.join("scrub"),
        };
        let deps =
            Deps { cluster: cluster.clone(), peer: peer.clone(), replication: replication.clone(), live: live.clone() };
        maintenance.start(&deps, &settings, &loops, stopping);
        loops.spawn(publish::run(
            cluster.clone(),
            replication.clone(),
            inbox(&me.data),
            configuration.own_models.clone(),
            stopping.clone(),
        ));

        let context = TaskContext::open(cluster.clone(), replication.clone(), &cache(&me.data), sandbox.clone());
        let workers = Workers {
            cluster: cluster.clone(),
            peer: peer.clone(),
            scheduler,
            runners: Arc::new(Runners::new(context.context("the cache folder")?)),
            broker: broker.clone(),
            claims,
            reset,
            settings: configuration.workers.clone(),
        };
        let workers = tokio::spawn(Arc::new(workers).run(delivered, stopping.clone()));
        Ok(Self { broker: broker.map(|broker| broker.status()), workers, broker_stop, loops })
    }

    /// Runs one more background loop, which must end when the node stops.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.loops.spawn(work);
    }

    /// Waits until the workers have released their tasks and the loops have ended. The broker's connection is closed
    /// last, because released tasks are acknowledged over it.
    pub(super) async fn stop(self) {
        let _ = self.workers.await;
        self.broker_stop.cancel();
        self.loops.close();
        self.loops.wait().await;
    }
}

/// The folder for files that can be made again. They are removed at start.
pub(super) fn cache(data: &Path) -> PathBuf {
    data.join("cache")
}
