"""Values that are longer than their column: one form for all targets."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gatherer import providers
from gatherer.model import widths
from gatherer.model.records import Response, Width
from tests.factories import envelope, notification, status, value

ID = Width(450, is_id=True)
TEXT = Width(100)
LONG = st.text(st.characters(exclude_categories=["Cs"]), min_size=451, max_size=600)


@given(LONG, LONG)
def test_different_long_ids_never_share_the_stored_form(left: str, right: str) -> None:
    stored = [widths.stored_text(text, ID) for text in (left, right)]
    assert (stored[0] == stored[1]) == (left == right)
    assert all(416 + 33 <= widths.units(text) <= 450 for text in stored)
    assert [widths.stored_text(text, ID) for text in stored] == stored


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_its_longest_prefix_without_half_of_a_pair(text: str) -> None:
    stored = widths.stored_text(text, TEXT)
    assert text.startswith(stored)
    assert widths.units(stored) <= 100
    assert stored == text or widths.units(text[: len(stored) + 1]) > 100


def test_the_form_of_an_id_is_a_prefix_and_the_hash_of_the_nvarchar() -> None:
    # HASHBYTES('SHA2_256', REPLICATE(CONVERT(nvarchar(max), N'a'), 451))
    assert widths.stored_text("a" * 450, ID) == "a" * 450
    stored = widths.stored_text("a" * 451, ID)
    assert stored[:418] == "a" * 417 + "#"
    assert len(stored) == 450


def test_a_long_client_reference_fits_its_column_and_stays_whole_in_the_details() -> None:
    references = ["r" * 1200 + str(number) for number in range(12)]
    bodies = [status(f"wamid.{n}", biz_opaque_callback_data=text) for n, text in enumerate(references)]
    facts = list(providers.decode(notification(envelope(value(statuses=bodies)))))
    for reference, fact in zip(references, facts, strict=True):
        assert type(fact) is Response
        assert fact.client_reference is not None
        assert len(fact.client_reference) == 850
        assert json.loads(fact.details or "")["long_values"] == {"client_reference": reference}
    assert len({fact.client_reference for fact in facts if type(fact) is Response}) == 12
