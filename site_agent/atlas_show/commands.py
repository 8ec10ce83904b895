"""``crosslot-site atlas show`` and ``atlas verify``; the script mounts them."""

from pathlib import Path
from typing import Final

import click

from shared.errors import InputError
from shared.runtime.console import json_option, print_json, print_table, remark

# What the commands work with is imported within them: --help and wrong arguments answer at once.

_PATH: Final = click.Path(path_type=Path)


@click.command("show")
@click.argument("atlas", metavar="FILE", type=_PATH)
@click.option("--page", metavar="OUT.html", type=_PATH, help="Write a page with the atlas map, for a browser.")
@json_option
def show(atlas: Path, page: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show what is in an atlas, how well it transfers, class by class, and what it may reveal."""
    from shared.runtime.files import write_atomically  # noqa: PLC0415 - see above
    from site_agent.atlas_show.model import view_atlas  # noqa: PLC0415 - see above
    from site_agent.atlas_show.page import render_page  # noqa: PLC0415 - see above
    from site_agent.atlas_show.shown import as_document, show_text  # noqa: PLC0415 - see above
    from site_agent.atlas_show.verification import read_atlas_file  # noqa: PLC0415 - see above

    if page is not None and page.exists() and atlas.exists() and page.samefile(atlas):
        raise InputError(f"{page}: expected another file than the atlas", hint="name a page, such as atlas.html")
    file = read_atlas_file(atlas)
    view = view_atlas(file.atlas, file.data)
    if page is not None:
        write_atomically(page, render_page(view))
    if as_json:
        print_json(as_document(view))
    else:
        for table in show_text(file.atlas, file.data):
            if table.columns:
                print_table(table.title, table.columns, table.rows)
                if table.note:
                    click.echo(table.note)
            else:
                click.echo(table.title)
                for row in table.rows:
                    click.echo(f"- {row[0]}")
            click.echo()
    if page is not None:
        remark(f"wrote {page}")


@click.command("verify")
@click.argument("atlas", metavar="FILE", type=_PATH)
@click.option("--manifest", metavar="A.atlas.json", type=_PATH, help="The manifest that the coordinator signed.")
@click.option("--coordinator-key", metavar="K.pub", type=_PATH, help="With it: the coordinator's public key.")
@json_option
def verify(atlas: Path, manifest: Path | None, coordinator_key: Path | None, as_json: bool) -> None:  # noqa: FBT001 - the same
    """Check that an atlas file is sound and, with its manifest, that it is the one the coordinator signed.

    Exits with 1 if it is not.
    """
    from site_agent.atlas_show.rounding import printable  # noqa: PLC0415 - see above
    from site_agent.atlas_show.verification import verify_atlas  # noqa: PLC0415 - see above

    checked = verify_atlas(atlas, manifest, coordinator_key)
    if as_json:
        print_json(
            {
                "success": True,
                "name": printable(checked.name),
                "sha256": checked.sha256,
                "bytes": checked.size_bytes,
                "signed_by": checked.signer,
                "checked": list(checked.sentences),
            }
        )
        return
    click.echo(f"{printable(checked.name)}: {checked.size_bytes:,} bytes, SHA-256 {checked.sha256}")
    for sentence in checked.sentences:
        click.echo(f"- {sentence}")
    if checked.signer is None:
        remark(
            "Not checked: who made it. Give --manifest and --coordinator-key to check that the coordinator signed it."
        )
