//! Where money moves.

use super::{master, token};
use crate::scan::secrets::rule::Rule;
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        judge: validators::random,
        ..master(
            "stripe-key",
            "a secret key of Stripe",
            &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"],
            "([rs]k_(?:live|test)_[A-Za-z0-9]{20,250}|whsec_[A-Za-z0-9+/]{32,64}={0,2})",
        )
    },
    Rule {
        judge: validators::mixed,
        ..master(
            "square-token",
            "a token of Square",
            &["sq0atp-", "sq0csp-", "sq0idp-", "square"],
            r"(sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43})|(?i:square)[^\n]{0,40}[^A-Za-z0-9_-](EAAA[A-Za-z0-9_-]{60})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    master(
        "braintree-token",
        "a token of PayPal",
        &["access_token$production$", "access_token$sandbox$"],
        r"(access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32})",
    ),
    Rule {
        judge: validators::random,
        ..master(
            "paypal-secret",
            "a secret of PayPal or Braintree",
            &["paypal", "braintree"],
            r#"(?i:paypal|braintree)[A-Za-z0-9_.-]{0,20}(?i:secret|private_?key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9_-]{32,80})(?:[^A-Za-z0-9_-]|$)"#,
        )
    },
    token(
        "shopify-token",
        "a token of Shopify",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        "(shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})",
    ),
];
