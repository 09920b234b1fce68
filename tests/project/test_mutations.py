"""The suite notices bugs: each of mutations.py's is caught."""

import mutations
import pytest


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_says_what_it_replaces(mutation):
    mutations.check(mutation)
    assert mutation.old != mutation.new


def test_a_text_that_is_not_there_once_is_refused():
    for old in ("no such text", "self"):
        with pytest.raises(SystemExit, match="once in losses.py"):
            mutations.check(mutations.MUTATIONS[0]._replace(file="losses.py", old=old))


@pytest.mark.slow
def test_every_mutation_is_caught_by_the_default_suite():
    outcomes = mutations.run(mutations.MUTATIONS)
    print(mutations.table(outcomes))
    assert len(outcomes) >= 30
    assert [o.mutation.name for o in outcomes if not o.caught_by] == []
