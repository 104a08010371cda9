"""Try Customer.io from a notebook or a script; CUSTOMERIO_HOST leads to the sandbox, without it to the real thing."""

import os
import sys
from datetime import UTC, datetime

from reverse_etl.customerio import messages
from reverse_etl.customerio.notebook import CustomerIO
from reverse_etl.customerio.semantic import ecommerce
from reverse_etl.delivery.outcomes import Receipt

if not os.environ.get("CUSTOMERIO_API_KEY"):
    sys.exit("CUSTOMERIO_API_KEY is not set; set it to the key of a Data Pipelines source, see docs/customerio.md")
customerio = CustomerIO(os.environ["CUSTOMERIO_API_KEY"], host=os.environ.get("CUSTOMERIO_HOST", ""))

customerio.identify("4711", {"email": "ada@example.com", "plan": "pro"})
customerio.track("4711", "report_opened", {"report": "churn"}, timestamp=datetime(2026, 1, 13, 8, 30, tzinfo=UTC))
customerio.track("4711", ecommerce.OrderCompleted(order_id="o-1", currency="EUR", total=12.5))

verdicts = customerio.batch(messages.identify(f"u{number}", {"plan": "free"}) for number in range(1_000))
print(sum(isinstance(verdict, Receipt) for verdict in verdicts), "of", len(verdicts), "confirmed")
