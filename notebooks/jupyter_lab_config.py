"""JupyterLab opens notebook 00, asks for no news, and saves only what you changed."""


def without_python_version(model: dict, **_) -> None:
    """The version of Python is this machine's own business, not the notebook's."""
    if model["type"] == "notebook":
        model["content"]["metadata"].get("language_info", {}).pop("version", None)


def without_announcements(_, page_config: dict) -> dict:
    """JupyterLab 4.6 asks whether it may tell news, even where news_url is None."""
    disabled = [*page_config.get("disabledExtensions", []), ANNOUNCEMENTS]
    return page_config | {"disabledExtensions": disabled}


ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
c = get_config()  # noqa: F821
c.LabApp.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"  # at pypi.org
c.ServerApp.tornado_settings = {"page_config_hook": without_announcements}
c.FileContentsManager.pre_save_hook = without_python_version
