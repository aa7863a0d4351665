//! Codes of what has no effect, or another than it looks.

codes! {
    GATEWAY_NEVER_MATCHES "AM-E1" Warning "VirtualServiceReachesNothing"
        "A host, a kind of rules or a match of the VirtualService is in no proxy's routes: no server of its gateways has it, the gateways do not see the object, or no client asks for the name."
        "Name what a server of the gateway has (host, port, protocol), and export the VirtualService to the namespace of the gateway's pods.";
    RULE_NOT_FOUND_BY_LOOK_UP "AM-E2" Warning "DestinationRuleNeverFound"
        "A client looks for the DestinationRule of a host in its own namespace, in that of the service, and in the root namespace. One that is elsewhere is found by clients of its own namespace alone."
        "Move it to the service's namespace, or to that of the clients.";
    HIDDEN "AM-E3" Warning "HiddenByExportTo"
        "exportTo hides the object from clients that a VirtualService or Sidecar leads to it: to them it is not there, and what they send gets 503."
        "Add the clients' namespace to exportTo, or keep what leads there to those who see it.";
    PORT_IS_NOT_HTTP "AM-E4" Warning "HttpRulesOnTcpPort"
        "By its name (or appProtocol) the port is not HTTP, so that sidecars forward connections and never see requests: http rules do nothing there."
        "Name the port http, http-..., grpc-... or set appProtocol; or write tcp rules.";
    SUBSETS_DROPPED "AM-E5" Warning "OtherRuleDropsSubsets"
        "A client takes one namespace's DestinationRule for a host. One in the client's own namespace replaces the owner's, whose subsets are then missing: routes to them get 503."
        "Repeat the subsets in the rule that wins, or remove it.";
    EMPTY_EGRESS "AM-E6" Warning "SidecarSeesNothing"
        "An entry of a Sidecar's egress that means no service lets nothing through: calls to what was meant go unrouted. An empty list means every service."
        "List the hosts that the workloads call, as ./* or namespace/host with the host's full name; ~/* is for none.";
    OR_INSTEAD_OF_AND "AM-E7" Warning "RuleSplitByDash"
        "Each `-` under rules begins an alternative. What stands in separate items need not hold together, so the policy matches more than all of it."
        "Remove the `-` so that the parts stand in one item.";
    HTTP_POLICY_ON_TCP "AM-E8" Warning "HttpPolicyOnTcpPort"
        "Methods, paths, hosts and request principals do not exist on a TCP port: an ALLOW rule with them never matches there, and a DENY rule is enforced by what is left of it."
        "Name the port as HTTP, or write the rule with ports, principals and namespaces alone.";
    ALLOWS_EVERYTHING "AM-E9" Warning "AllowsEverything"
        "An ALLOW policy with an empty rule allows every request to what it selects, so that no other ALLOW policy narrows it."
        "Say who may do what, or remove the policy.";
    MTLS_MODES_FIGHT "AM-E10" Error "MtlsModesFight"
        "A DestinationRule decides what clients send, a PeerAuthentication what servers take. Where one says mutual TLS and the other plain text, every connection fails."
        "Remove the TLS mode of the DestinationRule, so that clients do what the server takes.";
    SHADOWED_RULE "AM-E11" Warning "RuleShadowed"
        "Rules are tried in order, at a gateway those of older VirtualServices for the host first: earlier ones take every request that this one would, whatever the request is."
        "Put the narrower rule first, or remove it.";
    SERVICE_NOT_GIVEN "AM-E12" Warning "ServiceNotGiven"
        "A route leads to the full name of a service that the input does not have. Where the cluster does not have it either, its share of the requests gets 503."
        "Mend the name, or give check the manifest of the service too.";
    CHOOSES_NOTHING "AM-E13" Warning "SelectorChoosesNothing"
        "No workload of the input has the labels that the selector asks for: the object is for nobody. A Gateway's selector looks at all namespaces, a Sidecar's at its own."
        "Mend the labels, or give check the workloads too.";
}
