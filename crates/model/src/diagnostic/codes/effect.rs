//! Codes of what has no effect, or another than it looks.

codes! {
    RULE_NOT_FOUND_BY_LOOK_UP "AM-E2" Warning "DestinationRuleNeverFound"
        "A client looks for the DestinationRule of a host in its own namespace, in that of the service, and in the root namespace. One that is elsewhere is found by clients of its own namespace alone."
        "Move it to the service's namespace, or to that of the clients.";
    SUBSETS_DROPPED "AM-E5" Warning "OtherRuleDropsSubsets"
        "A client takes one namespace's DestinationRule for a host. One in the client's own namespace replaces the owner's, whose subsets are then missing: routes to them get 503."
        "Repeat the subsets in the rule that wins, or remove it.";
    OR_INSTEAD_OF_AND "AM-E7" Warning "RuleSplitByDash"
        "Each `-` under rules begins an alternative. What stands in separate items need not hold together, so the policy matches more than all of it."
        "Remove the `-` so that the parts stand in one item.";
    ALLOWS_EVERYTHING "AM-E9" Warning "AllowsEverything"
        "An ALLOW policy with an empty rule allows every request to what it selects, so that no other ALLOW policy narrows it."
        "Say who may do what, or remove the policy.";
    SERVICE_NOT_GIVEN "AM-E12" Warning "ServiceNotGiven"
        "A route leads to the full name of a service that the input does not have. Where the cluster does not have it either, its share of the requests gets 503."
        "Mend the name, or give check the manifest of the service too.";
    CHOOSES_NOTHING "AM-E13" Warning "SelectorChoosesNothing"
        "No workload of the input has the labels that the selector asks for: the object is for nobody. A Gateway's selector looks at all namespaces, a Sidecar's at its own."
        "Mend the labels, or give check the workloads too.";
}
