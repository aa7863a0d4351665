//! The mesh of the zero-loss scenarios: one service whose versions are origins of the test, reached through gateways
//! and sidecars that differ in nothing but who runs them.

use super::ports::Port;
use amime_testkit::echo::Echo;
use std::fmt::Write;
use std::net::SocketAddr;

/// The host that clients ask for.
pub const HOST: &str = "app.example.com";

/// One Gateway for each proxy: its name selects the proxy.
pub fn gateways(names: &[(&str, &Port)]) -> String {
    let mut text = String::new();
    for (name, port) in names {
        let number = port.number;
        writeln!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: istio-system}}\n\
             spec:\n  selector: {{gateway: {name}}}\n  servers:\n  - port: {{number: {number}, name: http, protocol: HTTP}}\n    \
             hosts: ['*/*']"
        )
        .unwrap();
    }
    text
}

/// A service with these endpoints: HTTP on port 80, gRPC on port 81, at the same servers.
pub fn service<'a>(endpoints: impl IntoIterator<Item = (&'a str, SocketAddr)>) -> String {
    let mut text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: app, namespace: shop}\nspec:\n  \
                    hosts: [app.shop.internal]\n  addresses: [10.9.0.1]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  \
                    ports:\n  - {number: 80, name: http, protocol: HTTP}\n  - {number: 81, name: grpc, protocol: GRPC}\n  \
                    endpoints:\n"
        .to_owned();
    for (version, address) in endpoints {
        let (ip, port) = (address.ip(), address.port());
        writeln!(text, "  - {{address: {ip}, labels: {{version: {version}}}, ports: {{http: {port}, grpc: {port}}}}}")
            .unwrap();
    }
    text
}

/// The endpoints of origins named `VERSION` or `VERSION-N`.
pub fn endpoints_of<'a>(echoes: impl IntoIterator<Item = &'a Echo>) -> Vec<(&'a str, SocketAddr)> {
    let version = |echo: &'a Echo| echo.name.split('-').next().unwrap_or_default();
    echoes.into_iter().map(|echo| (version(echo), echo.address)).collect()
}

/// A DestinationRule with these subsets, each (name, version).
pub fn subsets(subsets: &[(&str, &str)]) -> String {
    let mut text =
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: app, namespace: shop}\nspec:\n  \
                    host: app.shop.internal\n  subsets:\n"
            .to_owned();
    for (name, version) in subsets {
        writeln!(text, "  - {{name: {name}, labels: {{version: {version}}}}}").unwrap();
    }
    text
}

/// A rule: `x-user` of these clients (all, where None), and shares of subsets.
pub type Rule<'a> = (Option<&'a str>, &'a [(&'a str, u32)]);

/// A VirtualService of these rules, on all gateways and for sidecars; gRPC calls go to the service's gRPC port.
pub fn routes(gateways: &[&str], rules: &[Rule<'_>]) -> String {
    let names: Vec<String> = gateways.iter().map(|name| format!("istio-system/{name}")).collect();
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: app, namespace: shop}}\nspec:\n  \
         hosts: [{HOST}]\n  gateways: [mesh, {}]\n  http:\n",
        names.join(", ")
    );
    for (user, shares) in rules {
        for (path, port) in [("/echo.Echo/", 81), ("/", 80)] {
            write!(text, "  - match: [{{uri: {{prefix: {path}}}").unwrap();
            if let Some(user) = user {
                write!(text, ", headers: {{x-user: {{exact: {user}}}}}").unwrap();
            }
            text.push_str("}]\n    route:\n");
            for (subset, weight) in *shares {
                writeln!(
                    text,
                    "    - {{destination: {{host: app.shop.internal, subset: {subset}, port: {{number: {port}}}}}, weight: {weight}}}"
                )
                .unwrap();
            }
        }
    }
    text
}
