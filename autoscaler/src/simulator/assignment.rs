//! Which pod gets which partition: balanced by count, and what can stay with its pod stays.

/// The owner of each partition among `members`, from who owned it before.
pub(super) fn sticky(owners: &[Option<u64>], members: &[u64]) -> Vec<Option<u64>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let owned = |member: u64| owners.iter().filter(|owner| **owner == Some(member)).count();
    let mut fullest_first = members.to_vec();
    fullest_first.sort_by_key(|member| std::cmp::Reverse(owned(*member)));
    let (fair, remainder) = (owners.len() / members.len(), owners.len() % members.len());
    let mut places: Vec<(u64, usize)> = fullest_first
        .into_iter()
        .enumerate()
        .map(|(rank, member)| (member, fair + usize::from(rank < remainder)))
        .collect();
    let mut assigned: Vec<Option<u64>> = owners
        .iter()
        .map(|owner| {
            let (member, free) = places.iter_mut().find(|(member, free)| Some(*member) == *owner && *free > 0)?;
            *free -= 1;
            Some(*member)
        })
        .collect();
    for owner in assigned.iter_mut().filter(|owner| owner.is_none()) {
        if let Some((member, free)) = places.iter_mut().max_by_key(|(_, free)| *free) {
            *free = free.saturating_sub(1);
            *owner = Some(*member);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::sticky;
    use proptest::prelude::*;

    fn check(before: &[u64], members: &[u64], expected: &[u64]) {
        let before: Vec<_> = before.iter().map(|owner| (*owner > 0).then_some(*owner)).collect();
        let expected: Vec<_> = expected.iter().map(|owner| (*owner > 0).then_some(*owner)).collect();
        assert_eq!(sticky(&before, members), expected, "{before:?} among {members:?}");
    }

    #[test]
    fn what_can_stay_stays() {
        check(&[0, 0, 0, 0], &[1], &[1, 1, 1, 1]);
        check(&[1, 1, 1, 1], &[1, 2], &[1, 1, 2, 2]);
        check(&[1, 1, 2, 2], &[2], &[2, 2, 2, 2]);
        check(&[1, 1, 2, 2], &[1, 2, 3], &[1, 1, 2, 3]);
        check(&[1, 1, 2, 3], &[1, 2], &[1, 1, 2, 2]);
        check(&[1, 2, 1, 2], &[], &[0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn each_partition_has_an_owner_and_loads_differ_by_one(
            before in prop::collection::vec(prop::option::of(0_u64..8), 1..24), members in 1_u64..12,
        ) {
            let members: Vec<u64> = (0..members).collect();
            let after = sticky(&before, &members);
            let counts: Vec<usize> = members
                .iter()
                .map(|member| after.iter().filter(|owner| **owner == Some(*member)).count())
                .collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), before.len());
            prop_assert!(counts.iter().max() <= counts.iter().min().map(|fewest| fewest + 1).as_ref());
        }
    }
}
