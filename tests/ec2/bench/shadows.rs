//! moto keeps images too poorly to have ours, and takes none that it does not have. So each of ours has one in moto that stands for
//! it in an account: calls name moto's, answers ours.

use super::Inner;
use super::answer::Answer;
use super::call::Call;
use super::xml::Node;

impl Inner {
    /// Has moto carry out a call that names our images.
    pub async fn ask(&self, call: &Call) -> Answer {
        let mut call = call.clone();
        let ours: Vec<(String, String)> = {
            let world = self.world.lock().unwrap();
            let is_ours = |value: &str| world.image(value, &call.account, &call.region).is_ok();
            let named = call.form.0.iter().filter(|(_, value)| is_ours(value));
            named
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        for (name, image) in ours {
            let shadow = self.shadow(&call, &image).await;
            call.form.set(&name, shadow);
        }
        let mut answer = self.moto.ask(&call).await;
        let world = self.world.lock().unwrap();
        let of = |key: &(String, String, String)| key.0 == call.account && key.1 == call.region;
        let shadows: Vec<_> = world.shadows.iter().filter(|(key, _)| of(key)).collect();
        if !shadows.is_empty() {
            let mut text = String::from_utf8_lossy(&answer.body).into_owned();
            for ((_, _, image), shadow) in shadows {
                text = text.replace(shadow, image);
            }
            answer.body = text.into_bytes();
        }
        answer
    }

    async fn shadow(&self, call: &Call, image: &str) -> String {
        let key = (call.account.clone(), call.region.clone(), image.to_owned());
        let known = self.world.lock().unwrap().shadows.get(&key).cloned();
        if let Some(shadow) = known {
            return shadow;
        }
        let register = Call::ec2(
            &call.account,
            &call.region,
            "RegisterImage",
            &[("Name", "shadow")],
        );
        let answer = self.moto.ask(&register).await;
        let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
        let shadow = root.value("imageId").to_owned();
        self.world
            .lock()
            .unwrap()
            .shadows
            .insert(key, shadow.clone());
        shadow
    }
}
