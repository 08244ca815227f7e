from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared import registry
from shared.db import Database
from shared.errors import Conflict, InvalidInput, NotFound
from shared.tables import Embedding, ModelVersion
from tests.factories import unbacked_model


def find(database: Database, name: str) -> ModelVersion:
    with database.read() as session:
        return registry.find_model(session, name)


def default(database: Database) -> str:
    with database.read() as session:
        return registry.default_model(session).label


def delete(database: Database, name: str) -> None:
    with database.write() as session:
        registry.delete_model(session, registry.find_model(session, name))


def test_versions_count_up_for_each_name(database: Database) -> None:
    labels = [unbacked_model(database, name).label for name in ("a", "a", "b", "a")]
    assert labels == ["a@1", "a@2", "b@1", "a@3"]


def test_the_first_model_becomes_the_default_and_stays_it(database: Database) -> None:
    for name in ("a", "a", "b"):
        unbacked_model(database, name)
    assert default(database) == "a@1"


def test_a_model_is_made_default(database: Database) -> None:
    unbacked_model(database, "a")
    second = unbacked_model(database, "b")
    for _ in range(2):
        with database.write() as session:
            registry.set_default(session, second)
    assert default(database) == "b@1"
    with database.read() as session:
        found = [(model.label, aliases) for model, aliases in registry.list_models(session)]
    assert found == [("b@1", ["default"]), ("a@1", [])]


def test_names(database: Database) -> None:
    for name in ("a", "a", "b"):
        unbacked_model(database, name)
    assert find(database, "a").label == "a@2"
    assert find(database, "a@1").label == "a@1"
    assert find(database, "default").label == "a@1"
    assert find(database, "sha256:" + "ab" * 32).label == "a@1"
    assert find(database, "sha256:" + "ab" * 4).label == "a@1"


def test_a_digest_cut_too_short_is_not_guessed(database: Database) -> None:
    unbacked_model(database, "a")
    for short in ("sha256:", "sha256:abab"):
        with pytest.raises(InvalidInput) as caught:
            find(database, short)
        assert caught.value.code == "model_ambiguous"


@pytest.mark.parametrize(
    "name",
    ["c", "a@0", "a@3", "a@x", "a@-1", "a@" + "9" * 30, "a@²", "", "sha256:ff", "sha256:%", "a%", "A", "a\0"],
)
def test_unknown_names(database: Database, name: str) -> None:
    unbacked_model(database, "a")
    with pytest.raises(NotFound) as caught:
        find(database, name)
    assert caught.value.code == "model_unknown"
    assert "The models are: a." in caught.value.message


def test_no_models_at_all(database: Database) -> None:
    with database.read() as session, pytest.raises(InvalidInput) as caught:
        registry.default_model(session)
    assert caught.value.code == "model_none"
    with pytest.raises(NotFound, match="none yet"):
        find(database, "a")


def test_a_deleted_model_is_gone_but_its_row_is_kept(database: Database) -> None:
    model = unbacked_model(database, "a")
    delete(database, "a")
    with pytest.raises(NotFound):
        find(database, "a@1")
    with database.read() as session:
        assert registry.list_models(session) == []
        assert session.get_one(ModelVersion, model.id).deleted_at is not None
        with pytest.raises(InvalidInput):
            registry.default_model(session)


def test_embeddings_of_deleted_models_are_forgotten_and_no_others(database: Database) -> None:
    kept, *gone = [unbacked_model(database, name) for name in ("kept", "one", "two")]
    rows = [
        {"model_id": model.id, "digest": f"sha256:{n}", "vector": b"1234"} for model in (kept, *gone) for n in "abc"
    ]
    with database.write() as session:
        session.execute(sa.insert(Embedding), rows)
    assert registry.forget_embeddings(database) == 0
    for model in gone:
        delete(database, model.name)
    assert registry.forget_embeddings(database, at_once=2) == 6
    with database.read() as session:
        assert session.scalars(sa.select(Embedding.model_id)).all() == [kept.id] * 3


def test_a_deleted_version_number_is_not_given_again(database: Database) -> None:
    unbacked_model(database, "a")
    delete(database, "a")
    assert unbacked_model(database, "a").label == "a@2"
    assert default(database) == "a@2"


def test_deleting_the_newest_leaves_the_one_before(database: Database) -> None:
    for _ in range(2):
        unbacked_model(database, "a")
    delete(database, "a")
    assert find(database, "a").label == "a@1"


def test_the_candidate_is_found_by_that_name_until_it_is_promoted(database: Database) -> None:
    unbacked_model(database, "a")
    second = unbacked_model(database, "b")
    with pytest.raises(NotFound):
        find(database, "candidate")
    with database.write() as session:
        registry.set_candidate(session, second)
    assert find(database, "candidate").label == "b@1"
    with database.write() as session:
        registry.set_default(session, second)
        assert registry.aliases_of(session, second) == ["default"]


def test_an_archived_model_is_read_but_not_used(database: Database) -> None:
    for _ in range(2):
        unbacked_model(database, "a")
    with database.write() as session:
        newest = registry.find_model(session, "a")
        registry.set_candidate(session, newest)
        registry.archive_model(session, newest)
        assert registry.aliases_of(session, newest) == []
        assert registry.find_model(session, "a").label == "a@1"
        assert registry.find_model(session, "a@2").label == "a@2"
        for refused in (
            lambda: registry.usable_model(session, "a@2"),
            lambda: registry.set_default(session, newest),
            lambda: registry.set_candidate(session, newest),
        ):
            with pytest.raises(Conflict) as caught:
                refused()
            assert caught.value.code == "model_archived"
        assert [model.label for model, _ in registry.list_models(session)] == ["a@1"]
        assert [model.label for model, _ in registry.list_models(session, archived=True)] == ["a@2", "a@1"]
        registry.unarchive_model(session, newest)
        assert registry.usable_model(session, "a").label == "a@2"


def test_the_default_is_never_archived(database: Database) -> None:
    unbacked_model(database, "a")
    with database.write() as session, pytest.raises(Conflict) as caught:
        registry.archive_model(session, registry.find_model(session, "a"))
    assert caught.value.code == "model_is_default"
    assert find(database, "a").archived_at is None
