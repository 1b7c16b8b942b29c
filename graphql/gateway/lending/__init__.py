"""Lending: the markets that debts bear interest in, and what is lent to them."""
