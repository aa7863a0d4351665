use super::*;

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_answers_and_breaks_again_and_again_is_met_less_and_less_often() {
    let backoff = Backoff::default();
    let dialer = Dialer::new(vec!["127.0.0.1:1".into()], None).expect("a dialer");
    let mut dialing = Dialing::new(dialer.into(), backoff);
    for failures in 1..10 {
        dialing.answered();
        dialing.lost("broken".into());
        let least = backoff.first.saturating_mul(1 << failures).min(backoff.most) / 2;
        let pause = dialing.pause();
        assert!(pause >= least, "{failures}: {pause:?}");
    }
    // One that has lasted was none of them.
    dialing.answered();
    tokio::time::advance(STEADY).await;
    dialing.lost("broken".into());
    assert!(dialing.pause() <= SPREAD);
}
