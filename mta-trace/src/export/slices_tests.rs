//! Slices in one another.

use super::*;
use proptest::prelude::*;

fn slice(category: Category, start: u64, end: u64) -> Slice {
    Slice::new(category, format!("{start}"), start, end)
}

fn count(slices: &[Slice]) -> usize {
    slices.iter().map(|slice| 1 + count(&slice.inside)).sum()
}

fn lies_well(slices: &[Slice], start: u64, end: u64, around: Option<Category>) {
    let mut last = start;
    for slice in slices {
        assert!(slice.start >= last && slice.end <= end && slice.start <= slice.end, "{slice:?}");
        assert!(around.is_none_or(|around| around < slice.category), "{slice:?}");
        lies_well(&slice.inside, slice.start, slice.end, Some(slice.category));
        last = slice.end;
    }
}

#[test]
fn a_reply_ends_its_command_and_a_line_begins_the_next() {
    let mut reply = slice(Category::Call, 10, 10);
    reply.name = "write".to_owned();
    let mut line = slice(Category::Call, 10, 10);
    line.name = "read".to_owned();
    let all = [slice(Category::Session, 0, 30), slice(Category::Command, 0, 10), slice(Category::Command, 10, 20), line, reply];
    let [session] = &nest(all.into())[..] else { panic!("one session") };
    let [first, second] = &session.inside[..] else { panic!("two commands") };
    assert_eq!((first.inside[0].name.as_str(), second.inside[0].name.as_str()), ("write", "read"));
}

#[test]
fn regress_a_command_without_a_length_stays_in_its_order() {
    let all = [slice(Category::Session, 0, 30), slice(Category::Command, 10, 10), slice(Category::Command, 10, 20)];
    let [session] = &nest(all.into())[..] else { panic!("one session") };
    assert_eq!(session.inside.iter().map(|it| it.end).collect::<Vec<_>>(), [10, 20]);
}

proptest! {
    #[test]
    fn whatever_comes_nests(items in proptest::collection::vec((0_u8..5, 0_u64..50, 0_u64..20), 0..40)) {
        const ALL: [Category; 5] = [Category::Session, Category::FarEnd, Category::Command, Category::Wait, Category::Call];
        let slices: Vec<Slice> = items.iter().map(|(category, start, len)| slice(ALL[usize::from(*category)], *start, start + len)).collect();
        let nested = nest(slices);
        prop_assert_eq!(count(&nested), items.len());
        lies_well(&nested, 0, u64::MAX, None);
    }
}
