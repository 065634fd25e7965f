use std::time::Instant;

use bytes::Bytes;

use crate::world::{Ca, pair};

/// `cargo test -p entente-cluster --test mesh -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "prints what it measured")]
async fn frames_per_second() {
    const COUNT: usize = 300_000;
    let ca = Ca::new();
    let (a, mut b) = pair(&ca).await;
    let frame = Bytes::from(vec![b'x'; 300]);
    let begin = Instant::now();
    let (mesh, to) = (a.mesh.clone(), b.id.clone());
    let sending = tokio::spawn(async move {
        for _ in 0..COUNT {
            mesh.send(&to, frame.clone()).await.expect("queued");
        }
    });
    let (mut frames, mut batches) = (0, 0);
    while frames < COUNT {
        frames += b.inbound.recv().await.expect("open").frames.len();
        batches += 1;
    }
    sending.await.expect("sent");
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "{:.0} frames of 300 bytes per second, {:.0} per batch",
        COUNT as f64 / seconds,
        COUNT as f64 / f64::from(batches),
    );
    let begin = Instant::now();
    for n in 0..2000u32 {
        a.mesh
            .send(&b.id, Bytes::from(n.to_be_bytes().to_vec()))
            .await
            .expect("queued");
        b.inbound.recv().await.expect("open");
    }
    eprintln!(
        "{:.0} us one way",
        begin.elapsed().as_secs_f64() * 1e6 / 2000.0
    );
}
