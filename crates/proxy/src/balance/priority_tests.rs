//! The maths of priorities, by examples of Envoy's documentation and by its rules.

use super::*;

fn percents(counts: &[(u32, u32)], threshold: u32) -> Vec<u32> {
    let counts: Vec<_> = counts.iter().map(|(healthy, all)| Count { healthy: *healthy, all: *all }).collect();
    loads(&counts, 140, threshold).iter().map(|load| load.percent).collect()
}

fn panics(counts: &[(u32, u32)], threshold: u32) -> Vec<bool> {
    let counts: Vec<_> = counts.iter().map(|(healthy, all)| Count { healthy: *healthy, all: *all }).collect();
    loads(&counts, 140, threshold).iter().map(|load| load.panics).collect()
}

#[test]
fn what_one_priority_cannot_take_goes_to_the_next() {
    for (first, second, expected) in [
        (100, 100, [100, 0]),
        (72, 72, [100, 0]),
        (71, 71, [99, 1]),
        (50, 50, [70, 30]),
        (25, 100, [35, 65]),
        (0, 100, [0, 100]),
    ] {
        assert_eq!(percents(&[(first, 100), (second, 100)], 0), expected, "{first} {second}");
    }
    assert_eq!(percents(&[(50, 100), (20, 100), (100, 100)], 0), [70, 28, 2]);
    // Together they can take less than all: what they can is scaled up.
    assert_eq!(percents(&[(25, 100), (25, 100)], 0), [50, 50]);
    assert_eq!(percents(&[(5, 100), (10, 100)], 0), [34, 66]);
    assert_eq!(percents(&[], 50), [0; 0]);
}

#[test]
fn where_nobody_is_healthy_the_first_fails_or_all_panic() {
    assert_eq!(percents(&[(0, 2), (0, 2)], 0), [100, 0]);
    assert_eq!(panics(&[(0, 2), (0, 2)], 0), [false, false]);
    // In panic as many go to each as it has hosts.
    assert_eq!(percents(&[(0, 2), (0, 6)], 50), [25, 75]);
    assert_eq!(panics(&[(0, 2), (0, 6)], 50), [true, true]);
}

#[test]
fn a_priority_panics_only_while_all_together_are_too_few() {
    assert_eq!(panics(&[(25, 100), (100, 100)], 50), [false, false]);
    assert_eq!(panics(&[(25, 100), (40, 100)], 50), [true, true]);
    assert_eq!(panics(&[(5, 100), (60, 100)], 50), [true, false]);
    assert_eq!(panics(&[(5, 100), (6, 100)], 5), [false, false]);
}

#[test]
fn a_retry_leaves_the_priorities_of_earlier_tries_after_every_second() {
    let after = |tried: &[usize]| loads_after(&[100, 100, 50], &tried.iter().copied().map(Some).collect::<Vec<_>>(), 2);
    assert_eq!(after(&[]), None);
    assert_eq!(after(&[0]), None);
    assert_eq!(after(&[0, 0]), Some(vec![0, 100, 0]));
    assert_eq!(after(&[0, 0, 1]), Some(vec![0, 100, 0]));
    assert_eq!(after(&[0, 0, 1, 1]), Some(vec![0, 0, 100]));
    assert_eq!(after(&[0, 1]), Some(vec![0, 0, 100]));
    // All were tried: they begin anew.
    assert_eq!(after(&[0, 0, 1, 1, 2, 2]), Some(vec![100, 0, 0]));
    assert_eq!(after(&[0, 0, 1, 1, 2, 2, 0]), Some(vec![100, 0, 0]));
    assert_eq!(after(&[0, 0, 1, 1, 2, 2, 0, 0]), Some(vec![0, 100, 0]));
    // Of a host that has gone nobody knows where it was.
    assert_eq!(loads_after(&[100, 100], &[None, None], 2), Some(vec![100, 0]));
    assert_eq!(loads_after(&[0, 0], &[Some(0), Some(0)], 2), None);
}
