//! Fields of ServiceEntry, WorkloadEntry, WorkloadGroup and ProxyConfig.

use super::{Field, Field::*};

pub(super) const SERVICE_ENTRY: &[Field] = &[
    Done("addresses"),
    Message("endpoints[]", WORKLOAD_ENTRY),
    Done("exportTo"),
    Done("hosts"),
    Done("location"),
    Message("ports[]", &[Done("name"), Done("number"), Done("protocol"), Done("targetPort")]),
    Done("resolution"),
    Done("subjectAltNames"),
    Message("workloadSelector", &[Done("labels")]),
];

pub(super) const WORKLOAD_ENTRY: &[Field] = &[
    Done("address"),
    Done("labels"),
    Done("locality"),
    Instead("network", "the endpoint is dialled at its own address: gateways of networks are not looked up"),
    Done("ports"),
    Instead("serviceAccount", "identities are not checked yet"),
    Done("weight"),
];

pub(super) const WORKLOAD_GROUP: &[Field] = &[
    Instead("metadata", "no WorkloadEntry is made of the group: write WorkloadEntries"),
    Instead("probe", "no WorkloadEntry is made of the group: write WorkloadEntries"),
    Instead("template", "no WorkloadEntry is made of the group: write WorkloadEntries"),
];

pub(super) const PROXY_CONFIG: &[Field] = &[
    Instead("concurrency", "a proxy has as many workers as `amime proxy --concurrency`, or its cores, say"),
    Instead("environmentVariables", "set them where the proxy is started"),
    Instead("image", "the image is chosen where the pod is written"),
    Instead("selector", "ProxyConfigs are not handed out yet"),
];
