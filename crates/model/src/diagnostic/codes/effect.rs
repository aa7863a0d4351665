//! Codes of what has no effect, or another than it looks.

codes! {
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
