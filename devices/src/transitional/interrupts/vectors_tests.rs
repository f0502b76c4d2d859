// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn each_queue_has_its_own_vector_or_its_share() {
    let vectors = HiddenVectors::new(3, 4).unwrap();
    assert_eq!(vectors.len(), 4);
    let first = |vectors: &HiddenVectors, queue| vectors.candidates(queue).next();
    assert_eq!([0, 1, 2].map(|q| first(&vectors, q)), [Some(1), Some(2), Some(3)]);
    let few = HiddenVectors::new(200, 3).unwrap();
    assert_eq!([0, 1, 2, 3].map(|q| first(&few, q)), [Some(1), Some(2), Some(1), Some(2)]);
}

#[test]
fn candidates_are_distinct_and_exist() {
    for available in 0..6 {
        let vectors = HiddenVectors::new(8, available).unwrap();
        for queue in [0, 1, 7, 255, u16::MAX] {
            let candidates: Vec<_> = vectors.candidates(queue).collect();
            assert_eq!(candidates.is_empty(), available == 0);
            assert!(candidates.iter().all(|v| *v < available));
            let mut sorted = candidates.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), candidates.len());
        }
    }
}

#[test]
fn a_huge_vf_takes_no_more_events_than_queues_need() {
    assert_eq!(HiddenVectors::new(3, 2048).unwrap().len(), 4);
    assert_eq!(HiddenVectors::new(u16::MAX, 2048).unwrap().len(), MAX_QUEUES + 1);
}

#[test]
fn the_configuration_vector_can_be_another_one() {
    let vectors = HiddenVectors::new(2, 3).unwrap();
    assert_eq!((vectors.isr_bits(0), vectors.isr_bits(1)), (ISR_CONFIG, ISR_QUEUE));
    vectors.set_config(1);
    assert_eq!((vectors.isr_bits(0), vectors.isr_bits(1)), (ISR_QUEUE, ISR_CONFIG));
}
