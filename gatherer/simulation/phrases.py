"""Texts, emoji, buttons, forms and names of the people in a simulated campaign, and the errors of failed messages."""

from typing import Final

# As in real replies: accents, emoji of several code points, slashes, quotes, scripts of both directions.
REPLIES: Final = (
    "Yes please, tell me more!",
    "Thanks 😊",
    "Is the offer valid until 31/12?",
    "Merci, c'est noté — à bientôt",
    "¿Puedo cambiar la fecha?",
    "Schöne Grüße aus Köln ☀️",
    'My friend said "great deal" about it',
    "Please call me @ work, 9-17h",
    "شكرا جزيلا",
    "とても良い",
    "How much is it for a family? 👨‍👩‍👧‍👦",
    "No thanks.",
    "https://example.org/my-order?id=42&lang=en",
    "Ok 👍🏽",
    "STOP",
)
EMOJI: Final = ("👍", "❤️", "😂", "🙏", "👍🏽", "🎉", "👨‍👩‍👧‍👦", "🇬🇧")
BUTTONS: Final = (
    ("Yes, book me in", "book:yes"),
    ("Not this time", "book:no"),
    ("Stop promotions", "optout"),
)
LIST_ROWS: Final = (
    ("mon-am", "Monday morning", "9:00 - 12:00"),
    ("wed-pm", "Wednesday afternoon", "13:00 - 17:00"),
    ("sat-am", "Saturday morning", None),
)
RATINGS: Final = ("0_Excellent", "1_Good", "2_It's_ok", "3_Poor")
COMMENTS: Final = ("", "All fine / très bien", "The shop was closed 😕", 'Staff: "very kind"')
NAMES: Final = ("Ada", "Björn", "Chloé", "Dmitri", "Elif", "Fatima", "Giàng", "Hana", "Íñigo", "Jürgen", "林")
COUNTRIES: Final = ("GB", "US", "DE", "FR", "ES", "BR", "IN")

# code, title, details, weight. https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
FAILURES: Final = (
    (131026, "Message undeliverable", "Message Undeliverable.", 45),
    (
        131049,
        "This message was not delivered to maintain healthy ecosystem engagement.",
        "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
        25,
    ),
    (130472, "User's number is part of an experiment", "The number is part of an experiment.", 10),
    (131050, "Marketing stopped", "The user has stopped marketing messages from this business.", 12),
    (131048, "Spam rate limit hit", "Message failed to send because of a limit on this number.", 4),
    (132015, "Template is paused", "The template is paused because of its low quality.", 4),
)
ERROR_PAGE: Final = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
