//! Codes that Istio's analyzer has for the same.

codes! {
    DEPRECATED "IST0002" Warning "Deprecated"
        "What is deprecated goes away with a later version of the API."
        "Use what the message names instead.";
    NOT_FOUND "IST0101" Error "ReferencedResourceNotFound"
        "The object refers to something that is not in the input: a route to it answers 503, a selector chooses nothing, a gateway without its Secret speaks no TLS."
        "Add what is missing, mend the name, or give check the files that have it.";
    NAMESPACE_NOT_INJECTED "IST0102" Info "NamespaceNotInjected"
        "Pods of the namespace get no sidecar, and nothing says whether that is meant."
        "Label the namespace istio-injection=enabled, or istio-injection=disabled to say that it is meant.";
    POD_WITHOUT_PROXY "IST0103" Warning "PodMissingProxy"
        "The pod is in a namespace with injection and has no proxy, for example because it is older than the label: no rule of the mesh holds for its calls."
        "Restart the workload.";
    SCHEMA "IST0106" Error "SchemaValidationError"
        "A cluster refuses an object with a field of a wrong type, an unknown one, or one against Istio's rules."
        "Write what the message expects at that place.";
    MISPLACED_ANNOTATION "IST0107" Warning "MisplacedAnnotation"
        "Annotations are read from certain kinds alone; on others they do nothing. Those of pods belong to the pod template, not to the Deployment."
        "Move the annotation to the kind that is named.";
    UNKNOWN_ANNOTATION "IST0108" Warning "UnknownAnnotation"
        "An annotation within istio.io that Istio does not know does nothing."
        "Mend its name, or remove it.";
    MESH_HOST_TAKEN "IST0109" Error "ConflictingMeshGatewayVirtualServiceHosts"
        "Sidecars follow one VirtualService for a host, the oldest; rules of the others are not used, and which is the oldest changes when one is made again."
        "Bring the rules into one VirtualService, or keep the namespaces that see them apart by exportTo.";
    SIDECARS_OF_ONE_POD "IST0110" Error "ConflictingSidecarWorkloadSelectors"
        "A workload follows one Sidecar; of several which choose it the oldest counts."
        "Make the selectors choose different pods.";
    SIDECARS_WITHOUT_SELECTOR "IST0111" Error "MultipleSidecarsWithoutWorkloadSelectors"
        "A namespace has one Sidecar for all of its workloads; of several the oldest counts."
        "Merge them, or give all but one a workloadSelector.";
    PORT_REQUIRED "IST0112" Error "VirtualServiceDestinationPortSelectorRequired"
        "The service has several ports and the destination names none: sidecars take the port that was dialled, a gateway its server's port, and where the service has no such port the answer is 503."
        "Write destination.port.number.";
    SERVICES_DISAGREE_ON_PROTOCOL "IST0116" Warning "DeploymentAssociatedToMultipleServices"
        "Services of one workload give a port different protocols; its sidecar can treat the port as one of them only."
        "Use one protocol for the port, or another port.";
    PORT_NAME "IST0118" Info "PortNameIsNotUnderNamingConvention"
        "The name does not tell a protocol that Istio knows, so that it is detected from the first bytes; servers that speak first wait in vain."
        "Name the port protocol or protocol-suffix (http-web), or set appProtocol.";
    SEVERAL_INJECTION_LABELS "IST0123" Warning "NamespaceMultipleInjectionLabels"
        "Several labels decide which control plane injects; which one wins is not defined."
        "Keep one of istio-injection, istio.io/rev and istio.io/dataplane-mode.";
    INVALID_ANNOTATION "IST0125" Warning "InvalidAnnotation"
        "Injection fails or ignores the annotation where its value cannot be read."
        "Write a value of the kind that the message names.";
    UNKNOWN_REGISTRY "IST0126" Error "UnknownMeshNetworksServiceRegistry"
        "Endpoints of a registry that is not known are in no network, so that clients elsewhere dial addresses which they cannot reach."
        "Name a cluster that has a remote secret, or Kubernetes.";
    NO_WORKLOADS "IST0127" Warning "NoMatchingWorkloadsFound"
        "The policy chooses no workload: it protects nothing."
        "Mend the selector or the namespace.";
    NO_SERVER_VERIFICATION "IST0128" Warning "NoServerCertificateVerificationDestinationLevel"
        "Without CA certificates TLS takes any certificate: nobody verifies who answers."
        "Set caCertificates (and subjectAltNames).";
    NO_SERVER_VERIFICATION_OF_PORT "IST0129" Warning "NoServerCertificateVerificationPortLevel"
        "Without CA certificates TLS to that port takes any certificate: nobody verifies who answers."
        "Set caCertificates (and subjectAltNames) of the port.";
    UNREACHABLE_RULE "IST0130" Warning "VirtualServiceUnreachableRule"
        "Rules are tried in order and the first that matches decides. An earlier one takes every request that this rule would."
        "Put the narrower rule first, or remove the rule.";
    INEFFECTIVE_MATCH "IST0131" Info "VirtualServiceIneffectiveMatch"
        "An earlier match has all requests that this one would take."
        "Put the longer prefix first, or remove the match.";
    HOST_NOT_IN_GATEWAY "IST0132" Warning "VirtualServiceHostNotFoundInGateway"
        "The gateway has no server for the VirtualService's hosts, so that its rules do nothing there."
        "Add the host to a server of the Gateway, or mend the host.";
    SCHEMA_WARNING "IST0133" Warning "SchemaWarning"
        "It is accepted, and probably not what was meant."
        "Write what the message advises.";
    ADDRESSES_REQUIRED "IST0134" Warning "ServiceEntryAddressesRequired"
        "TCP connections are told apart by address: without one the entry takes every connection to the port, or none."
        "Set addresses, or have them allocated by DNS capture.";
    DEPRECATED_ANNOTATION "IST0135" Info "DeprecatedAnnotation"
        "The annotation goes away with a later version."
        "Use what replaces it.";
    ALPHA_ANNOTATION "IST0136" Info "AlphaAnnotation"
        "A feature in alpha may change or go away."
        "Know that it may.";
    SERVICES_DISAGREE_ON_PORT "IST0137" Warning "DeploymentConflictingPorts"
        "Two services lead by different ports to one port of a workload; the sidecar gives it the settings of one of them."
        "Use the same port number in both.";
    DUPLICATE_CERTIFICATE "IST0138" Warning "GatewayDuplicateCertificate"
        "Browsers use an open HTTP/2 connection for every host that its certificate covers: requests for the other Gateway's hosts come to this one and get 404."
        "Put the hosts into one Gateway, or give each a certificate of its own.";
    INVALID_WEBHOOK "IST0139" Error "InvalidWebhook"
        "Injection happens twice, or not at all."
        "Make selectors exclusive, and the service of the webhook exist.";
    SUBSET_NOT_AT_GATEWAY "IST0140" Warning "IngressRouteRulesNotAffected"
        "The gateway routes by its own VirtualService; subsets that another one gives the mesh do not hold for requests that come in."
        "Name the subset in the gateway's VirtualService too.";
    LOCALHOST_LISTENER "IST0143" Error "LocalhostListener"
        "What listens on localhost is not reached from other pods."
        "Listen on 0.0.0.0.";
    PROXY_UID "IST0144" Warning "InvalidApplicationUID"
        "Traffic of user 1337 is the proxy's own and is not captured: the application's calls pass by the mesh."
        "Run the application as another user.";
    GATEWAYS_IN_CONFLICT "IST0145" Error "ConflictingGateways"
        "Two Gateways want the same host and port of the same pods; one of the servers is not used."
        "Merge the servers, or use other hosts.";
    IMAGE_AUTO_DEPLOYMENT "IST0146" Warning "ImageAutoWithoutInjectionWarning"
        "`image: auto` is filled in by injection; without it the pod cannot start."
        "Label namespace or template so that a webhook selects it.";
    IMAGE_AUTO_POD "IST0147" Error "ImageAutoWithoutInjectionError"
        "The pod was not injected: its image is `auto`, which cannot be pulled."
        "Label it for injection, and make it again.";
    INJECTED_BY_DEFAULT "IST0148" Info "NamespaceInjectionEnabledByDefault"
        "The installation injects every namespace that does not refuse."
        "Label the namespace istio-injection=disabled where that is not meant.";
    CLAIM_WITHOUT_AUTHENTICATION "IST0149" Error "JwtClaimBasedRoutingWithoutRequestAuthN"
        "Routing by a claim needs a validated token; without a RequestAuthentication of the gateway no request has claims."
        "Apply a RequestAuthentication to the gateway's pods.";
    EXTERNAL_NAME_PORT "IST0150" Warning "ExternalNameServiceTypeInvalidPortName"
        "A TCP port of an ExternalName service has no address to be told by, so that it takes all connections to the port."
        "Name the port http, https or tls, or use a ServiceEntry.";
    RELATIVE_PATCH "IST0151" Warning "EnvoyFilterUsesRelativeOperation"
        "The patch refers to what another patch may not have made yet: without a priority the order is not defined."
        "Set priority, or use ADD or INSERT_FIRST.";
    REPLACE_PATCH "IST0152" Error "EnvoyFilterUsesReplaceOperationIncorrectly"
        "REPLACE works on filters and virtual hosts alone; elsewhere it is ignored."
        "Use MERGE, or REMOVE and ADD.";
    ADD_PATCH "IST0153" Error "EnvoyFilterUsesAddOperationIncorrectly"
        "ADD is ignored for ROUTE_CONFIGURATION and HTTP_ROUTE."
        "Use MERGE, or INSERT_FIRST for routes.";
    REMOVE_PATCH "IST0154" Error "EnvoyFilterUsesRemoveOperationIncorrectly"
        "REMOVE is ignored for ROUTE_CONFIGURATION and HTTP_ROUTE."
        "Use MERGE.";
    RELATIVE_PATCH_OF_VERSION "IST0155" Warning "EnvoyFilterUsesRelativeOperationWithProxyVersion"
        "The patch holds for one version of proxies; during an upgrade what it refers to may be missing."
        "Set priority, or use ADD or INSERT_FIRST.";
    NO_PROVIDER "IST0157" Warning "InvalidTelemetryProvider"
        "Access logging without a provider, and without a default one, is ignored."
        "Name a provider, or set defaultProviders.accessLogging.";
    PROXY_IMAGE_MISMATCH "IST0158" Warning "PodsIstioProxyImageMismatchInNamespace"
        "The pods run another proxy than the one that injection would give them."
        "Restart the workloads.";
    TELEMETRIES_OF_ONE_POD "IST0159" Error "ConflictingTelemetryWorkloadSelectors"
        "A workload follows one Telemetry of its namespace; of several which choose it the oldest counts."
        "Make the selectors choose different pods.";
    TELEMETRIES_WITHOUT_SELECTOR "IST0160" Error "MultipleTelemetriesWithoutWorkloadSelectors"
        "A namespace has one Telemetry for all of its workloads; of several the oldest counts."
        "Merge them.";
    INVALID_CREDENTIAL "IST0161" Error "InvalidGatewayCredential"
        "The Secret has no certificate and key that can be used: TLS at that server fails."
        "Give it tls.crt and tls.key that belong together and have not expired.";
    PORT_NOT_ON_SERVICE "IST0162" Warning "GatewayPortNotDefinedOnService"
        "The gateway listens on a port that its Service does not have: nobody reaches it through the Service."
        "Add the port to the gateway's Service.";
    EXTERNAL_CONTROL_PLANE "IST0163" Warning "InvalidExternalControlPlaneConfig"
        "The webhook leads to no control plane: injection and validation fail."
        "Give clientConfig a valid url or a service.";
    EXTERNAL_ADDRESS "IST0164" Info "ExternalControlPlaneAddressIsNotAHostname"
        "An IP address in a webhook changes with the load balancer, and its certificate is hard to have."
        "Use a host name.";
    INTERNAL_GATEWAY "IST0165" Warning "ReferencedInternalGateway"
        "The Gateway is one that Istio makes of a Gateway API object, by a name that may change."
        "Name the Gateway API's gateway, or use an HTTPRoute.";
    INEFFECTIVE_SELECTOR "IST0166" Warning "IneffectiveSelector"
        "Gateways of the Gateway API follow policies by targetRefs alone; a selector does nothing."
        "Use targetRefs.";
    INEFFECTIVE_POLICY "IST0167" Warning "IneffectivePolicy"
        "Workloads in ambient mode have no sidecar that would follow the policy."
        "Remove it, or take the workload out of ambient mode.";
    NEGATIVE_CONDITION "IST0171" Warning "NegativeConditionStatus"
        "The control plane wrote into the object's status that it does not take effect."
        "See the message of the condition.";
    SUBSET_WITHOUT_PODS "IST0173" Error "DestinationRuleSubsetNotSelectPods"
        "Requests to a subset without pods get 503 (UH)."
        "Mend the labels, or deploy the version first.";
    UNKNOWN_RULE_HOST "IST0174" Warning "UnknownDestinationRuleHost"
        "No service has the host, so that the rule holds for nothing."
        "Mend the host; a short name is of the rule's own namespace.";
    JWKS_UNRESTRICTED "IST0175" Warning "JwksUriFetchUnrestricted"
        "The control plane fetches whatever address a jwksUri names; who may write a RequestAuthentication can make it call inner services."
        "Set BLOCKED_CIDRS_IN_JWKS_URIS of istiod.";
    OLD_GATEWAY_API "IST0176" Warning "GatewayAPICRDVersionBelowMinimum"
        "Objects of a kind whose CRD is too old are not read."
        "Upgrade the CRDs of the Gateway API.";
    ENTRIES_DISAGREE "IST0177" Warning "ConflictingServiceEntryProtocol"
        "A host and port has one protocol; which of the entries tells it depends on their age."
        "Give the port the same protocol in all of them.";
}
