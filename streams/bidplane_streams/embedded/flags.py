"""The command lines of a control plane's programs, for both of its flavours.

Decides every flag and why. Pure: paths and ports in, argument vectors out. HOST owns the devices:
all of Kubernetes' APIs, DeviceTaintRules, the node-lifecycle controller. AGENT is trimmed to what
one workload's cluster needs (about 125 MiB for an API server against 290).
"""

from __future__ import annotations

import dataclasses
import enum
import pathlib


class Flavour(enum.Enum):
    """Which of the two kinds of control plane."""

    HOST = "host"
    AGENT = "agent"


@dataclasses.dataclass(frozen=True, slots=True)
class Plane:
    """What the flags are made from."""

    flavour: Flavour
    pki: pathlib.Path
    api: int
    scheduler: int
    controllers: int
    etcd: str
    prefix: str
    etcd_pki: pathlib.Path
    node_grace_s: int = 40

    def kubeconfig(self, user: str) -> str:
        """The kubeconfig of one of the plane's own programs."""
        return str(self.pki / f"{user}.kubeconfig")


STORE_BYTES = 512 * 1024 * 1024
SCHEDULER = "system:kube-scheduler"
CONTROLLERS = "system:kube-controller-manager"

_AGENT_APIS = (
    "api/all=false,api/v1=true,resource.k8s.io/v1=true,rbac.authorization.k8s.io/v1=true,"
    "authentication.k8s.io/v1=true,authorization.k8s.io/v1=true,coordination.k8s.io/v1=true,"
    "apps/v1=true,batch/v1=true,events.k8s.io/v1=true,scheduling.k8s.io/v1=true,"
    "storage.k8s.io/v1=true,policy/v1=true,apiextensions.k8s.io/v1=true,"
    "admissionregistration.k8s.io/v1=true,apiregistration.k8s.io/v1=true,networking.k8s.io/v1=true,"
    "discovery.k8s.io/v1=true,flowcontrol.apiserver.k8s.io/v1=true"
)  # without discovery.k8s.io the API server never gets ready
_AGENT_WITHOUT = (
    "MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ValidatingAdmissionPolicy,"
    "MutatingAdmissionPolicy,StorageObjectInUseProtection,DefaultStorageClass,DefaultIngressClass,"
    "PersistentVolumeClaimResize,PodTopologyLabels,RuntimeClass,CertificateApproval,"
    "CertificateSigning,ClusterTrustBundleAttest,CertificateSubjectRestriction,"
    "NodeDeclaredFeatureValidator"
)
# Nodes of an agent's cluster are kept by bidplane's node sync, so node-lifecycle stays away from
# them. What is left out besides: volumes, certificates, autoscaling, nodes' addresses.
_AGENT_CONTROLLERS = (
    "serviceaccount-token-controller,serviceaccount-controller,namespace-controller,"
    "garbage-collector-controller,pod-garbage-collector-controller,resourceclaim-controller,"
    "root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,"
    "resourcequota-controller,endpoints-controller,endpointslice-controller,"
    "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,"
    "job-controller,cronjob-controller,ttl-after-finished-controller,disruption-controller,"
    "taint-eviction-controller,device-taint-eviction-controller"
)
_TAINT_RULES = "--feature-gates=DRADeviceTaintRules=true"


def etcd(home: pathlib.Path, client: int, peer: int, pki: pathlib.Path) -> list[str]:
    """The arguments of etcd: mutual TLS for clients, since any process of the machine may connect.

    It does not fsync: its data outlives a killed process, not a power cut. Its size is bounded: it
    is mapped into memory, and an agent may write as it likes into its own.
    """
    return [
        "--name=bidplane",
        f"--data-dir={home}",
        f"--listen-client-urls=https://127.0.0.1:{client}",
        f"--advertise-client-urls=https://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=bidplane=http://127.0.0.1:{peer}",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        f"--trusted-ca-file={pki}/ca.crt",
        "--client-cert-auth",
        "--unsafe-no-fsync",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        f"--quota-backend-bytes={STORE_BYTES}",
        "--log-level=warn",
    ]


def apiserver(plane: Plane) -> list[str]:
    """kube-apiserver's arguments."""
    pki = plane.pki
    shared = [
        f"--etcd-servers={plane.etcd}",
        f"--etcd-prefix={plane.prefix}",
        f"--etcd-cafile={plane.etcd_pki}/ca.crt",
        f"--etcd-certfile={plane.etcd_pki}/etcd-client.crt",
        f"--etcd-keyfile={plane.etcd_pki}/etcd-client.key",
        "--bind-address=127.0.0.1",
        f"--secure-port={plane.api}",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--profiling=false",
    ]
    if plane.flavour is Flavour.HOST:
        return [
            *shared,
            _TAINT_RULES,
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--runtime-config=resource.k8s.io/v1beta2=true",  # DeviceTaintRules are beta
        ]
    return [
        *shared,
        "--authorization-mode=RBAC",
        f"--runtime-config={_AGENT_APIS}",
        f"--disable-admission-plugins={_AGENT_WITHOUT}",
        "--enable-priority-and-fairness=false",
        "--contention-profiling=false",
        "--feature-gates=APIResponseCompression=false,OpenAPIEnums=false",
    ]


def scheduler(plane: Plane) -> list[str]:
    """kube-scheduler's arguments; its default request rate would be the market's limit."""
    return [
        *_client(plane, SCHEDULER),
        f"--secure-port={plane.scheduler}",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
    ]


def controller_manager(plane: Plane) -> list[str]:
    """kube-controller-manager's arguments."""
    pki = plane.pki
    return [
        *_client(plane, CONTROLLERS),
        f"--secure-port={plane.controllers}",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        *_controllers(plane),
    ]


def _controllers(plane: Plane) -> list[str]:
    if plane.flavour is Flavour.AGENT:
        return [f"--controllers={_AGENT_CONTROLLERS}"]
    return [
        "--controllers=*",
        f"--cluster-signing-cert-file={plane.pki}/ca.crt",
        f"--cluster-signing-key-file={plane.pki}/ca.key",
        f"--node-monitor-grace-period={plane.node_grace_s}s",
    ]


def _client(plane: Plane, user: str) -> list[str]:
    config = plane.kubeconfig(user.removeprefix("system:"))
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
        *([_TAINT_RULES] if plane.flavour is Flavour.HOST else []),
    ]
