"""Renders chats as transformers does.

    chat_template.py <asked.json>

The file has a list of {"template", "bos_token", "eos_token", "messages"}; the result is a list of texts, each with a generation prompt.
"""

import json
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template


def render(asked):
    rendered = render_jinja_template(
        conversations=[asked["messages"]],
        chat_template=asked["template"],
        add_generation_prompt=True,
        bos_token=asked["bos_token"],
        eos_token=asked["eos_token"],
    )
    # Newer versions return the masks of the assistant's tokens as well.
    texts = rendered[0] if isinstance(rendered, tuple) else rendered
    return texts[0] if isinstance(texts, list) else texts


print(json.dumps([render(asked) for asked in json.loads(Path(sys.argv[1]).read_text())]))
