//! Codes of Amime's own about texts, objects and listeners.

codes! {
    /// A document is not YAML; it is left out.
    SYNTAX "AM-Y1" Error "Syntax"
        "A document that is no YAML is left out whole: nothing in it takes effect, and a cluster refuses the file."
        "Mend what the message names at that line. Tabs never indent in YAML; text with `: `, `#` or a leading `*`, `&`, `{`, `[` needs quotes.";
    /// A key twice in one mapping; the first one stays.
    DUPLICATE_KEY "AM-Y2" Error "DuplicateKey"
        "A key can stand once in a mapping. Some readers take the first, some the last, and strict ones refuse the object."
        "Remove one of the two, or merge what is under them.";
    /// A document that is no Kubernetes object.
    NOT_AN_OBJECT "AM-Y3" Error "NotAnObject"
        "Without apiVersion, kind and metadata.name nothing says what the document is, so that nothing reads it."
        "Write apiVersion, kind and metadata.name.";
    /// Two objects of one kind, namespace and name; the earlier one stays.
    DUPLICATE_OBJECT "AM-R1" Error "DuplicateObject"
        "A cluster keeps one object of a name: which of the two depends on the order in which they are applied."
        "Remove or rename one, or give it the namespace that it was meant for.";
    /// A kind (or version of it) that Amime does not read.
    UNKNOWN_KIND "AM-R2" Info "UnknownKind"
        "Amime leaves the object alone, so that whatever it should do is not done by the mesh."
        "Nothing, where another program reads it; else mend apiVersion or kind.";
    /// A policy that is read and not enforced.
    NOT_ENFORCED "AM-R3" Warning "NotEnforced"
        "The policy is read and checked, and no proxy enforces it yet: requests that it should refuse go through."
        "Do not rely on it in an Amime mesh yet.";
    /// A field that is read and has no effect.
    NO_EFFECT "AM-R4" Info "FieldWithoutEffect"
        "The field is understood, and the proxies do not act by it."
        "See the table of fields in docs for what is done and what is not.";
    /// A delegate's rule that cannot be merged into the delegating one.
    DELEGATE "AM-R5" Error "DelegateNotMerged"
        "A delegate's rule whose match is not within that of the rule that delegates to it is left out: its requests get 503."
        "Make the delegate's match narrower than the root's: the same kind of condition, with a longer prefix.";
    /// A broken object stays at its last good version.
    HELD "AM-R6" Warning "HeldAtLastGoodVersion"
        "What was written is broken or refers to what is not there, so that the version before it goes on."
        "Mend the object, or add what it refers to.";
    /// Another service has the address and port.
    LISTENER_TAKEN "AM-L1" Warning "ListenerTaken"
        "Sidecars tell TCP services apart by address and port alone; of two that share both one is not reached."
        "Give the service an address or a port of its own.";
    /// A rule that another VirtualService of the host leaves no request.
    SHADOWED "AM-L2" Warning "RuleShadowedByOther"
        "At a gateway the rules of all VirtualServices for a host are put together, the oldest's first; a rule whose every match stands before it is reached by no request."
        "Remove the rule, narrow the earlier one, or bring both into one VirtualService in the order that is meant.";
}
