"""Services outside Google Cloud and outside chains: the only package that speaks HTTP and SMTP to them."""
