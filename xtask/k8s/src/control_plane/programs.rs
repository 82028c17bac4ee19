//! How each program is called.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Component, ControlPlane, State};

/// Kubeconfigs: file, user, group.
pub(super) const USERS: [(&str, &str, &str); 3] = [
    ("admin", "admin", "system:masters"),
    (
        "kube-controller-manager",
        "system:kube-controller-manager",
        "",
    ),
    ("kube-scheduler", "system:kube-scheduler", ""),
];

const SERVICE_RANGE: &str = "10.96.0.0/16";

/// Who wrote what; reads and leases of the control plane itself are left out.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: Metadata
"#;

pub(super) fn write_audit_policy(dir: &Path) -> Result<()> {
    std::fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).context("cannot write the policy")
}

impl ControlPlane {
    pub(super) fn command(&self, component: Component) -> Command {
        let mut command = Command::new(self.binaries.path(component.name()));
        let arguments = match component {
            Component::Etcd => self.etcd(),
            Component::ApiServer => self.api_server(),
            Component::ControllerManager => self.controller_manager(),
            Component::Scheduler => vec![
                format!("--kubeconfig={}", self.file("kube-scheduler.kubeconfig")),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ],
        };
        command
            .args(arguments)
            .current_dir(&self.dir)
            // Small machines run several of these.
            .env("GOGC", "50");
        command
    }

    fn etcd(&self) -> Vec<String> {
        let State {
            etcd_port,
            peer_port,
            ..
        } = self.state;
        let client = format!("http://127.0.0.1:{etcd_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        vec![
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
            // A test that kills etcd kills the process, not the machine.
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let State {
            api_port,
            etcd_port,
            options,
            ..
        } = &self.state;
        let pki = &self.pki;
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            // Loopback is no address for the endpoints of the service `kubernetes`.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={api_port}"),
            format!("--tls-cert-file={}", pki.file("apiserver.crt")),
            format!("--tls-private-key-file={}", pki.file("apiserver.key")),
            format!("--client-ca-file={}", pki.file("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", pki.file("sa.pub")),
            format!("--service-account-signing-key-file={}", pki.file("sa.key")),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            format!(
                "--kubelet-client-certificate={}",
                pki.file("apiserver-kubelet-client.crt")
            ),
            format!(
                "--kubelet-client-key={}",
                pki.file("apiserver-kubelet-client.key")
            ),
            format!("--kubelet-certificate-authority={}", pki.file("ca.crt")),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
        ];
        if let Some(after) = options.eviction_after {
            let seconds = after.as_secs();
            arguments.push(format!("--default-not-ready-toleration-seconds={seconds}"));
            arguments.push(format!(
                "--default-unreachable-toleration-seconds={seconds}"
            ));
        }
        if options.audit {
            arguments.push(format!(
                "--audit-policy-file={}",
                self.file("audit-policy.yaml")
            ));
            arguments.push(format!("--audit-log-path={}", self.audit_log().display()));
        }
        arguments.extend(options.api_server_flags.iter().cloned());
        arguments
    }

    fn controller_manager(&self) -> Vec<String> {
        let pki = &self.pki;
        let mut arguments = vec![
            format!(
                "--kubeconfig={}",
                self.file("kube-controller-manager.kubeconfig")
            ),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!("--service-account-private-key-file={}", pki.file("sa.key")),
            format!("--root-ca-file={}", pki.file("ca.crt")),
            format!("--cluster-signing-cert-file={}", pki.file("ca.crt")),
            format!("--cluster-signing-key-file={}", pki.file("ca.key")),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        ];
        if let Some(grace) = self.state.options.node_grace {
            let (grace, period) = (grace.as_secs().max(2), (grace.as_secs() / 4).clamp(1, 5));
            arguments.push(format!("--node-monitor-grace-period={grace}s"));
            arguments.push(format!("--node-monitor-period={period}s"));
        }
        arguments
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}
