"""What a new blast says until somebody writes what it should."""

from typing import Final

SUBJECT: Final = 'News from {{ company.name | default: "us" }}'
PREHEADER: Final = ""

HTML: Final = """\
<style>
  .letter { max-width: 560px; margin: 0 auto; padding: 24px; font: 16px/1.6 Arial, Helvetica, sans-serif; }
  h1 { margin: 0 0 16px; font-size: 24px; line-height: 1.3; }
  p { margin: 0 0 16px; }
</style>
<div class="letter">
  <h1>Hello {{ recipient.first_name | default: "there" }}!</h1>
  <p>Write here what you want to tell them.</p>
  <p>Warm regards,<br>
  {{ company.name | default: "your team" }}</p>
</div>
"""
