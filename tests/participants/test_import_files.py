"""Files of people that are chosen: what is read of them, and what is refused, whole or line by line."""

from __future__ import annotations

import io
import re

import pytest
from sqlalchemy import func, select

from panel.campaigns.service import Campaign
from panel.participants.models import Import
from panel.participants.reading import MOST_OCTETS, MOST_PEOPLE
from tests.participants.files import carry_out, choose, people, refusal
from tests.support.world import World

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "octets",
    [
        b"\xef\xbb\xbfemail;name\r\nrobin@example.com;J\xc3\xb6rg Meyer\r\n",
        "email\tname\nrobin@example.com\tJörg Meyer\n".encode("utf-16"),
        b"\xfe\xff" + "email,name\nrobin@example.com,Jörg Meyer\n".encode("utf-16-be"),
        'name, "e mail"\r"Jörg Meyer", "robin@example.com"\r'.encode(),
        "\n\nMail,Full_Name,,\n,,,\n robin@example.com ,Jörg Meyer,,\n,,,\n".encode(),
    ],
    ids=["mark and semicolons", "UTF-16 and tabs", "UTF-16, big end first", "CR, quotes", "empty lines and columns"],
)
@sqlite
def test_it_reads_what_spreadsheets_write(world: World, campaign: Campaign, path: str, octets: bytes) -> None:
    carry_out(world.client(world.owner), path, octets)
    assert people(world, campaign) == [("robin@example.com", "Jörg", "Meyer")]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "The file is empty."),
        (b"\xef\xbb\xbf\n\n", "The file is empty."),
        (b"email,name\n\n,\n", "holds nobody"),
        (
            b"mail,E-Mail\na@b.example,c@d.example\n",
            "Columns 1 and 2 (“mail” and “E-Mail”) are both the email address.",
        ),
        (b"name,phone\nRobin,1\n", "No column is called “email”: line 1 names “name”, “phone”."),
        (b"robin@example.com,Robin\n", "Line 1 holds an address where the names of the columns belong."),
        ("email\na@b.example\n".encode("utf-16-le"), "NUL characters, as UTF-16 does where its mark is missing"),
        (b"email,name\na@b.example,x\nc@d.example,J\xf6rg\n", "Line 3 holds letters that are not UTF-8"),
        (
            b'email,name\na@b.example,x\nc@d.example,"Rob\ne@f.example,x\n',
            "Line 3, column “name”, begins with a quotation",
        ),
        (b'email,name\na@b.example,"Rob', "Line 2, column “name”, begins with a quotation mark that is not closed"),
        (b'email,name\na@b.example,"Rob\nc@d.example,"x"\n', "Line 2, column “name”, begins with a quotation mark"),
        (b"email,name\nc@d.example,y\na@b.example," + b"x" * 1_000_000, "Line 3, column “name”, goes on for 1,000,012"),
        (
            b'email,name\na@b.example,"' + b"x\n" * 500_000 + b'"\n',
            "Line 2, column “name”, begins with a quotation mark",
        ),
        (b"email" + b"," * 1_000_000 + b"\na@b.example\n", "The first line goes on for 1,000,006 characters"),
    ],
)
@sqlite
def test_it_refuses_a_file_whose_shape_is_in_doubt(
    world: World, campaign: Campaign, path: str, octets: bytes, words: str
) -> None:
    answer = choose(world.client(world.owner), path, octets)
    assert words in refusal(answer)
    assert people(world, campaign) == []
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"a@b.example", "Has 1 field where the first line names 2 columns."),
        (b"a@b.example,x,y", "Has 3 fields where the first line names 2 columns."),
        (b"a@b.example,x\0y", "“name” holds a NUL character."),
        (b"a\0@b.example,x", "“email” holds a NUL character."),
        (b'a@b.example,"x\ny"', "“name” must be a single line."),
        (b'a@b.example,"x"y', "A quotation mark stands within a field"),
        (b"a@b.example," + "\u202ex".encode(), "“name” contains a character that changes the reading direction."),
        (b"x" * 400 + b"@b.example,x", "“email”: The address is 410 characters long; at most 320 fit."),
        (b"a@b.example," + b"x" * 201, "“name” is 201 characters long; at most 200 fit."),
        (b"a@b.example,x " + b"x" * 101, "“name” is too long for a first and a last name."),
    ],
)
@sqlite
def test_it_sets_a_line_aside_that_is_wrong(
    world: World, campaign: Campaign, path: str, line: bytes, words: str
) -> None:
    browser = world.client(world.owner)
    chosen = choose(browser, path, b"email,name\nc@d.example,x\n" + line + b"\ne@f.example,y\n")
    page = browser.get(chosen.location).text
    row = re.search(r'Line </span>3</th><td data-label="What is wrong">(.*?)</td>', page)
    assert row is not None
    assert words in row[1].replace("&#34;", '"')
    browser.post(chosen.location, {"existing": "leave"})
    assert [email for email, _, _ in people(world, campaign)] == ["c@d.example", "e@f.example"]


@sqlite
def test_it_offers_nothing_where_nobody_can_be_imported(world: World, path: str) -> None:
    browser = world.client(world.owner)
    page = browser.get(choose(browser, path, "email\nnobody\n").location).text
    assert "Nobody in this file can be imported." in page
    assert 'name="existing"' not in page


@sqlite
def test_it_takes_a_hundred_thousand_and_not_one_more(world: World, path: str) -> None:
    browser = world.client(world.owner)
    lines = ["email,first name,last name\n", *(f"p{n}@example{n % 700}.com,Robin,Meyer\n" for n in range(MOST_PEOPLE))]
    assert choose(browser, path, "".join(lines)).status_code == 303
    answer = choose(browser, path, "".join([*lines, "one@more.example,x,y\n"]))
    assert "more than 100,000 people: number 100,001 is in line 100,002" in refusal(answer)


@sqlite
def test_it_takes_no_larger_file_and_nothing_large_from_others(world: World, path: str) -> None:
    browser = world.client(world.owner)
    browser.get(path)
    large = b"email\n" + b"x" * MOST_OCTETS
    answer = choose(browser, path, large + b"x" * 100_000)
    assert answer.status_code == 413
    assert "larger than 10 MB" in answer.text
    assert "100,000 people" in answer.text
    assert choose(browser, path, large[:MOST_OCTETS]).status_code == 422
    assert choose(browser, path.removesuffix("/import"), large[:3_000_000]).status_code == 413
    assert choose(world.client(), path, large[:3_000_000]).status_code == 400


@sqlite
def test_who_was_signed_out_meanwhile_is_told_so_however_large_the_file(world: World, path: str) -> None:
    browser = world.client(world.owner)
    browser.get(path)
    browser.post("/logout")  # in another tab
    answers = [choose(browser, path, b"email\n" + b"x" * octets) for octets in (10, 3_000_000, 2 * MOST_OCTETS)]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("Your sign-in has ended" in answer.text for answer in answers)


@sqlite
def test_it_stops_reading_what_does_not_say_how_large_it_is(world: World, path: str) -> None:
    browser = world.client(world.owner)
    sent = io.BytesIO(b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 30_000_000)
    answer = browser.client.post(
        path,
        environ_overrides={"wsgi.input": sent, "wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked", "Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413
    assert sent.tell() < MOST_OCTETS + 1_000_000


@sqlite
def test_it_wants_a_file(world: World, path: str) -> None:
    assert refusal(world.client(world.owner).submit(path)) == "Choose a file."


@sqlite
def test_it_counts_the_files(world: World, path: str) -> None:
    browser = world.client(world.owner)
    answers = [choose(browser, path, "x") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert "Choose it again in" in answers[-1].text


@sqlite
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("email" + "x" * 140_000 + "\n", "The first line goes on for"),
        ('email,"x\n",' + '"x\n",' * 600 + "y\nrobin@example.com\n", "names more than 500 columns"),
        ("email," * 600 + "\n", "names more than 500 columns"),
        ("email\n" + '"a"b\n' * (MOST_PEOPLE + 1), "holds more than 100,000 people"),
    ],
    ids=["a first line without end", "columns on several lines", "columns", "lines that are no CSV"],
)
def test_what_would_take_much_memory_is_refused_whole(world: World, path: str, content: str, words: str) -> None:
    assert words in refusal(choose(world.client(world.owner), path, content))
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0
