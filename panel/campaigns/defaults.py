"""The first words of every notification: short, warm and complete without pictures.

Each body is what a person finds in the editor, so it is plain HTML under a small style sheet, which is written into
the elements when it is saved. The colours keep their contrast when a mail program turns the page dark: text and
background are left to it, and the button brings both of its own.
"""

from typing import Final

_STYLE: Final = """\
<style>
  .letter { max-width: 560px; margin: 0 auto; padding: 24px; font: 16px/1.6 Arial, Helvetica, sans-serif; }
  h1 { margin: 0 0 16px; font-size: 24px; line-height: 1.3; }
  p { margin: 0 0 16px; }
  .button { display: inline-block; padding: 12px 24px; border-radius: 6px; background-color: #1f5fbf;
            color: #ffffff; font-weight: bold; text-decoration: none; }
  .code { font-size: 20px; font-weight: bold; letter-spacing: 1px; }
  .quiet { font-size: 14px; color: #767676; }
</style>
"""


def _letter(*elements: str) -> str:
    inner = "\n".join(f"  {element}" for element in elements)
    return f'{_STYLE}<div class="letter">\n{inner}\n</div>\n'


def _button(tag: str, words: str) -> str:
    return f'<p><a class="button" href="{{{{ {tag} }}}}">{words}</a></p>'


_COMPANY = '{{ company.name | default: "us" }}'
_SIGNED = '<p>Warm regards,<br>\n  {{ company.name | default: "your team" }}</p>'
_LINK = '<p><a href="{{ referrer.referral_link }}">{{ referrer.referral_link }}</a></p>'
_PORTAL = f"{{% if referrer.portal_link %}}{_button('referrer.portal_link', 'See my referrals')}{{% endif %}}"
_REWARD = (
    '<p><strong>{{ reward.name | default: "A reward from us" }}</strong>'
    "{% if reward.value %}, worth {{ reward.value }}{% endif %}</p>",
    '{% if reward.code %}<p>Your code: <span class="code">{{ reward.code }}</span></p>{% endif %}',
    '{% if reward.expires_on %}<p>Please use it by {{ reward.expires_on | date: "%-d %B %Y" }}.</p>{% endif %}',
)


def _full_name(person: str) -> str:
    """First and last name, as far as they are known, and the address."""
    return (
        f"{{% if {person}.first_name %}}{{{{ {person}.first_name }}}}"
        f"{{% if {person}.last_name %}} {{{{ {person}.last_name }}}}{{% endif %}} ({{{{ {person}.email }}}})"
        f"{{% else %}}{{{{ {person}.email }}}}{{% endif %}}"
    )


_FRIEND = _full_name("friend")
_REFERRER = _full_name("referrer")

BODIES: Final[dict[str, str]] = {
    "welcome": _letter(
        '<h1>Welcome, {{ referrer.first_name | default: "and thank you for joining" }}!</h1>',
        f"<p>It is lovely that you want to recommend {_COMPANY} to your friends. This is your personal link:</p>",
        _LINK,
        "<p>Send it to anyone who might enjoy what we do. We will write to you when a friend signs up with it.</p>",
        _button("referrer.referral_link", "See what your friends will see"),
        _SIGNED,
    ),
    "new_referrer": _letter(
        "<h1>You have a new referrer</h1>",
        f"<p><strong>{_REFERRER}</strong> has joined “{{{{ campaign.name }}}}”.</p>",
        "<p>Their referral link: {{ referrer.referral_link }}</p>",
        '<p class="quiet">You get this email because notifications about new referrers are switched on.</p>',
    ),
    "referral_created_referrer": _letter(
        '<h1>Well done, {{ referrer.first_name | default: "thank you" }}!</h1>',
        '<p><strong>{{ friend.first_name | default: "A friend of yours" }}</strong> has just signed up through your'
        " link. Thank you for recommending us.</p>",
        "<p>We will write again as soon as the referral qualifies. Until then, feel free to share your link with"
        " more friends:</p>",
        _LINK,
        _PORTAL,
        _SIGNED,
    ),
    "referral_created_friend": _letter(
        '<h1>Hello {{ friend.first_name | default: "and welcome" }}!</h1>',
        f'<p>{{{{ referrer.first_name | default: "A friend of yours" }}}} thought that you might like {_COMPANY},'
        " and you have signed up through their link. It is good to have you here.</p>",
        "<p>There is nothing else to do right now. We will write to you when there is news about your referral.</p>",
        _SIGNED,
    ),
    "referral_created_owner": _letter(
        "<h1>You have a new referral</h1>",
        f"<p><strong>{_FRIEND}</strong> has signed up through a referral link of “{{{{ campaign.name }}}}”.</p>",
        f"<p>Referred by {_REFERRER}."
        "{% if referrer.referral_count > 1 %} They have made {{ referrer.referral_count }} referrals so far.{% endif %}"
        "</p>",
        '<p class="quiet">You get this email because notifications about new referrals are switched on.</p>',
    ),
    "referral_qualified_referrer": _letter(
        '<h1>It counts, {{ referrer.first_name | default: "thank you" }}!</h1>',
        '<p>Your referral of <strong>{{ friend.first_name | default: "your friend" }}</strong> has qualified.'
        "{% if referrer.qualified_count > 1 %} That makes {{ referrer.qualified_count }} friends so far.{% endif %}"
        "</p>",
        "<p>Thank you for telling others about us. If a reward comes with it, you will hear from us soon.</p>",
        "<p>Do you know someone else who might like us? Your link still works:</p>",
        _LINK,
        _PORTAL,
        _SIGNED,
    ),
    "referral_qualified_friend": _letter(
        "<h1>Congratulations{% if friend.first_name %}, {{ friend.first_name }}{% endif %}!</h1>",
        f"<p>You have completed everything that was needed, and your referral to {_COMPANY} has qualified.</p>",
        "<p>If a reward comes with it, you will hear from us soon."
        "{% if referrer.first_name %} You may want to thank {{ referrer.first_name }}, who recommended us.{% endif %}"
        "</p>",
        _SIGNED,
    ),
    "referral_qualified_owner": _letter(
        "<h1>A referral has qualified</h1>",
        f"<p><strong>{_FRIEND}</strong> has met the conditions of “{{{{ campaign.name }}}}”.</p>",
        f"<p>Referred by {_REFERRER}.</p>",
        '<p class="quiet">You get this email because notifications about qualified referrals are switched on.</p>',
    ),
    "referral_denied_referrer": _letter(
        '<h1>About your referral of {{ friend.first_name | default: "a friend" }}</h1>',
        "<p>Thank you for recommending us. This time, we are sorry to say, the referral could not be counted.</p>",
        "{% if denial.reason %}<p>The reason: {{ denial.reason }}</p>{% endif %}",
        "<p>Please do not let that stop you: the next friend who uses your link can count.</p>",
        _LINK,
        _SIGNED,
    ),
    "reward_issued_referrer": _letter(
        "<h1>Your reward is ready{% if referrer.first_name %}, {{ referrer.first_name }}{% endif %}!</h1>",
        "<p>Thank you for recommending us. Here is what you have earned:</p>",
        *_REWARD,
        "<p>Enjoy it! And if you know someone else who might like us, your link still works:</p>",
        _LINK,
        _PORTAL,
        _SIGNED,
    ),
    "reward_issued_friend": _letter(
        "<h1>Your reward is ready{% if friend.first_name %}, {{ friend.first_name }}{% endif %}!</h1>",
        f"<p>Thank you for giving {_COMPANY} a try"
        "{% if referrer.first_name %} on {{ referrer.first_name }}’s recommendation{% endif %}."
        " Here is your reward:</p>",
        *_REWARD,
        "<p>Enjoy it!</p>",
        _SIGNED,
    ),
}
