//! Codes of the practices: what works, and is better done another way.

codes! {
    SEVERAL_SUBSETS "AM-T5" Warning "SeveralSubsets"
        "Traffic that goes to one named version is traffic that somebody can explain."
        "Route a host to one subset; several with weights only while a canary is in progress.";
    SEVERAL_HOSTS "AM-T6" Warning "SeveralHosts"
        "A VirtualService for several services, or for a wildcard in the mesh, changes routes of services that its owner may not know of."
        "One service a VirtualService; a wildcard only where `gateways` names gateways.";
    SUBSET_BEFORE_RULE "AM-T8" Warning "SubsetBeforeItsRule"
        "A route to a subset that no DestinationRule has is answered 503 until the DestinationRule is there."
        "Apply the DestinationRule first, wait until proxies have it, then the VirtualService.";
}
