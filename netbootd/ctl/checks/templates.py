"""The admin's boot templates: whether they can be rendered, before a node asks for what they make."""

from netbootd.boot.visit import BootVariables
from netbootd.ctl.checks.finding import Context, Finding, ok, wrong
from netbootd.ctl.site import site_of
from netbootd.errors import UserError


def boot_templates(context: Context) -> list[Finding]:
    """Each is tried for the first node that has something to boot; `apply` tries all others."""
    found: list[Finding] = []
    with site_of(context.head) as site:
        renderer = site.trees.renderer
        own = [name for name in renderer.names("boot") if len(renderer.files(name)) > 1]
        made = (site.boot(node) for node in site.view.registry.nodes()) if own else iter(())
        boot = next((each for each in made if isinstance(each, BootVariables)), None)
        if boot is None:
            return []
        for name in own:
            try:
                site.boot_script(name, boot)
            except UserError as error:
                found.append(wrong(error.message, error.hint or "until then nodes get the packaged one"))
    return found or [ok(f"{', '.join(own)} can be rendered")]
