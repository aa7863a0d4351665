//! Codes of the practices: what works, and is better done another way.

codes! {
    FEW_CONTROL_PLANES "AM-S1" Warning "ControlPlanesOfOneRevision"
        "One control plane serves thousands of proxies. Two of the same revision in one cluster fight over the webhook and the configuration, and cost twice."
        "Keep one for each zone or region, as replicas of one Deployment; give another one a revision.";
    REDUNDANT_CONTROL_PLANE "AM-S2" Warning "ControlPlaneNotRedundant"
        "With one replica, or with all in one zone, a node or zone that fails leaves proxies without updates, and new pods without a configuration."
        "At least two replicas, and a topologySpreadConstraint (or anti-affinity) over topology.kubernetes.io/zone.";
    NEEDLESS_SIDECAR "AM-S3" Warning "SidecarOnMonitoringPod"
        "Every sidecar costs memory and CPU. Nobody reads the telemetry of monitoring pods, and scraping gets harder through one."
        "Label the pod template sidecar.istio.io/inject: \"false\".";
    JOB_NEVER_ENDS "AM-S4" Warning "JobSidecarNeverEnds"
        "A Job's pod is complete when all of its containers have ended. The sidecar does not end by itself, so that the Job never completes."
        "Leave the Job out (sidecar.istio.io/inject: \"false\"); or wrap the command: wait for http://localhost:15021/healthz/ready, run it, keep its exit code, POST http://localhost:15020/quitquitquit whatever the code, exit with it.";
    GATEWAY_BESIDE_CONTROL_PLANE "AM-T1" Warning "GatewayBesideControlPlane"
        "The gateway takes requests from outside. In the control plane's namespace it shares Secrets and permissions with what rules the mesh."
        "Put the gateway into a namespace of its own.";
    GATEWAY_LOAD_BALANCER "AM-T2" Warning "GatewayLoadBalancer"
        "A Service of type LoadBalancer has the cloud's controller make a load balancer: who owns it, and who may change it, is blurred."
        "type: NodePort, behind a load balancer of your own making.";
    GATEWAY_CLUSTER_IP "AM-T3" Warning "GatewayClusterIp"
        "A ClusterIP is reached from within the cluster alone, unless a load balancer goes to the pods themselves; with NodePort such a load balancer needs no node ports."
        "ClusterIP together with an Ingress annotated alb.ingress.kubernetes.io/target-type: ip, NodePort otherwise.";
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
