//! Where people and bots talk.

use super::token;
use crate::scan::secrets::rule::Rule;
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        judge: validators::random,
        ..token(
            "slack-webhook",
            "a webhook of Slack",
            &["hooks.slack.com/"],
            r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/_-]{20,120})",
        )
    },
    Rule {
        judge: validators::random,
        ..token(
            "slack-token",
            "a token of Slack",
            &[
                "xoxb-", "xoxa-", "xoxp-", "xoxo-", "xoxr-", "xoxs-", "xoxe", "xoxc-", "xoxd-",
                "xapp-",
            ],
            r"(xox[abcdoprs]-[A-Za-z0-9%/+_-]{20,300}|xoxe(?:\.xox[bp])?-[A-Za-z0-9-]{40,300}|xapp-\d-[A-Z0-9]+-\d+-[A-Za-z0-9]{32,})",
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "discord-webhook",
            "a webhook of Discord",
            &["discord.com/api/", "discordapp.com/api/"],
            r"(?i:discord(?:app)?\.com/api/(?:v\d+/)?webhooks/)(\d{16,20}/[A-Za-z0-9_-]{60,80})",
        )
    },
    Rule {
        before: 0,
        within: 240,
        judge: validators::discord,
        ..token(
            "discord-token",
            "a token of a Discord bot",
            &["discord", "token", "bot "],
            r"(?i:discord|token|bot )[^\n]{0,100}?[^A-Za-z0-9_.-]([MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        before: 14,
        within: 48,
        judge: validators::mixed,
        ..token(
            "telegram-token",
            "a token of a Telegram bot",
            &[":AA"],
            "(?:^|[^0-9A-Za-z]|bot)([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: validators::random,
        within: 240,
        ..token(
            "teams-webhook",
            "a webhook of Teams",
            &["webhook.office.com/", "outlook.office.com/webhook"],
            r"(?i:webhook\.office\.com/webhookb2|outlook\.office\.com/webhook)/([0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36})",
        )
    },
];
