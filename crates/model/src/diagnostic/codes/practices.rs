//! Codes of the practices: what works, and is better done another way.

codes! {
    NEEDLESS_SIDECAR "AM-S3" Warning "SidecarOnMonitoringPod"
        "Every sidecar costs memory and CPU. Nobody reads the telemetry of monitoring pods, and scraping gets harder through one."
        "Label the pod template sidecar.istio.io/inject: \"false\".";
    JOB_NEVER_ENDS "AM-S4" Warning "JobSidecarNeverEnds"
        "A Job's pod is complete when all of its containers have ended. The sidecar does not end by itself, so that the Job never completes."
        "Leave the Job out (sidecar.istio.io/inject: \"false\"); or wrap the command: wait for http://localhost:15021/healthz/ready, run it, keep its exit code, POST http://localhost:15020/quitquitquit whatever the code, exit with it.";
    SHARED_GATEWAY "AM-T4" Warning "GatewayOfSeveralApplications"
        "A gateway that several applications share is a single point of failure for all of them."
        "One ingress gateway for each application.";
    SEVERAL_SUBSETS "AM-T5" Warning "SeveralSubsets"
        "Traffic that goes to one named version is traffic that somebody can explain."
        "Route a host to one subset; several with weights only while a canary is in progress.";
    SEVERAL_HOSTS "AM-T6" Warning "SeveralHosts"
        "A VirtualService for several services, or for a wildcard in the mesh, changes routes of services that its owner may not know of."
        "One service a VirtualService; a wildcard only where `gateways` names gateways.";
    EXPORTED_TO_ALL "AM-T7" Warning "ExportedToAll"
        "Without exportTo every namespace takes the configuration over, and every proxy carries it. exportTo hides configuration alone; it keeps nobody from calling: an AuthorizationPolicy does."
        "exportTo: [\".\"], and the gateway's namespace too where the VirtualService is bound to a gateway elsewhere (else the gateway answers 404).";
    SUBSET_BEFORE_RULE "AM-T8" Warning "SubsetBeforeItsRule"
        "A route to a subset that no DestinationRule has is answered 503 until the DestinationRule is there."
        "Apply the DestinationRule first, wait until proxies have it, then the VirtualService.";
}
